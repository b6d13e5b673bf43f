// Command guest runs in another kernel: telephones whose IPsec is that kernel's, for whoever connects to the port that it is given.
package main

import (
	"fmt"
	"net"
	"os"

	"imsafe/test/kernelesp/handset"
)

func main() {
	l, err := net.Listen("tcp", os.Args[1])
	if err == nil {
		err = handset.Serve(l)
	}
	fmt.Fprintln(os.Stderr, "guest:", err)
	os.Exit(1)
}
