// Package mmsg reads and sends datagrams many at a time, with the system calls recvmmsg and sendmmsg. golang.org/x/net offers them too, but
// allocates an address for each datagram; here addresses stay values.
package mmsg
