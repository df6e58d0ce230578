package httpapi

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// staff is a Staff, ready to be asked.
type staff struct {
	agents   []string
	networks []netip.Prefix
	headers  []header
}

type header struct{ name, value string }

// Check says what is wrong with it.
func (s Staff) Check() error {
	_, err := compile(s)
	return err
}

func compile(s Staff) (*staff, error) {
	out := &staff{}
	for _, part := range s.Agents {
		if part != "" {
			out.agents = append(out.agents, strings.ToLower(part))
		}
	}
	for _, text := range s.Networks {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			addr, err := netip.ParseAddr(text)
			if err != nil {
				return out, fmt.Errorf("staff network %q is no address and no network such as 192.0.2.0/24", text)
			}
			network = netip.PrefixFrom(addr, addr.BitLen())
		}
		out.networks = append(out.networks, network.Masked())
	}
	for _, text := range s.Headers {
		name, value, _ := strings.Cut(text, ":")
		if name = strings.TrimSpace(name); name == "" {
			return out, fmt.Errorf("staff header %q has no name", text)
		}
		out.headers = append(out.headers, header{name: name, value: strings.TrimSpace(value)})
	}
	return out, nil
}

func (s *staff) agent(userAgent string) bool {
	if len(s.agents) == 0 || userAgent == "" {
		return false
	}
	plain := strings.ToLower(userAgent)
	for _, part := range s.agents {
		if strings.Contains(plain, part) {
			return true
		}
	}
	return false
}

func (s *staff) address(at netip.Addr) bool {
	for _, n := range s.networks {
		if n.Contains(at) {
			return true
		}
	}
	return false
}

func (s *staff) request(r *http.Request, at netip.Addr) bool {
	for _, h := range s.headers {
		if got := r.Header.Values(h.name); len(got) > 0 && (h.value == "" || got[0] == h.value) {
			return true
		}
	}
	return s.agent(r.UserAgent()) || s.address(at)
}

// event says whether what an event tells of its device makes it staff.
func (s *staff) event(userAgent, ip string) bool {
	if s.agent(userAgent) {
		return true
	}
	if len(s.networks) == 0 || ip == "" {
		return false
	}
	at, err := netip.ParseAddr(ip)
	return err == nil && s.address(at.Unmap())
}
