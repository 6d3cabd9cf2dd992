package cluster

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// advertised returns the address under which the others reach this node's
// gossip and link, and where host is a name that name too, for people.
func advertised(host, bind string) (ip netip.Addr, name string, err error) {
	if host == "" {
		return ownAddress(bind), "", nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap(), "", nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, "", fmt.Errorf("the host to advertise: %w", err)
	}
	best := ips[0].Unmap()
	for _, ip := range ips[1:] { // every node can be reached by IPv4, not every one by IPv6
		if !best.Is4() && ip.Unmap().Is4() {
			best = ip.Unmap()
		}
	}
	return best, host, nil
}

// ownAddress guesses under which address others reach this machine: the one
// that is bound, the one that its packets leave from, the first one that is
// not loopback, loopback.
func ownAddress(bind string) netip.Addr {
	if host, _, err := net.SplitHostPort(bind); err == nil && host != "" {
		if addr, err := net.ResolveIPAddr("ip", host); err == nil && !addr.IP.IsUnspecified() {
			ip, _ := netip.AddrFromSlice(addr.IP)
			return ip.Unmap()
		}
	}
	for _, outside := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} { // documentation addresses; nothing is sent
		if conn, err := net.Dial("udp", outside); err == nil {
			local := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
			conn.Close()
			return local
		}
	}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			ip, _ := netip.AddrFromSlice(n.IP)
			return ip.Unmap()
		}
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// portOf returns the port of an address whose host may be empty.
func portOf(addr string) (uint16, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, fmt.Errorf("address %q: %w", addr, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("address %q: %q is no port", addr, port)
	}
	return uint16(n), nil
}
