package main

import (
	"fmt"
	"net"

	"imsafe/servicebox/as"
)

// pagesFlag says where the pages of a service are.
type pagesFlag struct {
	Pages    string `help:"Where clients fetch its pages: ADDRESS:PORT to listen on. By default it has none." placeholder:"ADDRESS:PORT" group:"Pages:"`
	PagePort int    `help:"Port by which clients know them, if it is not that of --pages." placeholder:"PORT" group:"Pages:"`
	Web      string `help:"The home network's door for HTTPS, as clients reach it; cs.DOMAIN:443 by default." placeholder:"HOST:PORT" env:"IMSAFE_WEB" group:"Pages:"`
}

// pages opens them, if the flags say where.
func (v *pagesFlag) pages(svc *as.Service) error {
	if v.Pages == "" {
		return nil
	}
	ln, err := net.Listen("tcp", v.Pages)
	if err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	if err := svc.ServePages(ln, as.Home(v.Web), v.PagePort); err != nil {
		_ = ln.Close()
		return err
	}
	return nil
}
