// Package agent tells by a user agent what device, system and browser sent something, and whether it was a person at all.
// It keeps what it has worked out in a cache of bounded size.
package agent

import (
	"strings"
	"sync"

	"github.com/mileusna/useragent"

	"github.com/waymark-analytics/waymark/services/collector/internal/segment"
)

// longest is how much of a user agent is looked at: a longer one is made up.
const longest = 512

// Cache parses user agents. It is safe for concurrent use.
type Cache struct {
	size int
	mu   struct {
		sync.Mutex
		young, old map[string]segment.Agent
	}
}

// New returns a cache of at most twice size user agents.
func New(size int) *Cache {
	c := &Cache{size: size}
	c.mu.young, c.mu.old = map[string]segment.Agent{}, map[string]segment.Agent{}
	return c
}

// Parse tells what a user agent says. The text is not kept.
//
// The cache has two generations. What is used moves to the young one; when that is full it becomes the old one and the old
// one is let go, so that what was not used for a while goes without a list of uses.
func (c *Cache) Parse(userAgent string) segment.Agent {
	if len(userAgent) > longest {
		userAgent = userAgent[:longest]
	}
	c.mu.Lock()
	a, ok := c.mu.young[userAgent]
	if !ok {
		if a, ok = c.mu.old[userAgent]; ok {
			c.keep(userAgent, a)
		}
	}
	c.mu.Unlock()
	if ok {
		return a
	}
	a = parse(userAgent)
	c.mu.Lock()
	c.keep(userAgent, a)
	c.mu.Unlock()
	return a
}

// Len is the number of user agents that are kept.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.mu.young) + len(c.mu.old)
}

// keep puts an agent among the young. REQUIRES: mu is held.
func (c *Cache) keep(userAgent string, a segment.Agent) {
	if len(c.mu.young) >= c.size {
		c.mu.old, c.mu.young = c.mu.young, make(map[string]segment.Agent, c.size)
	}
	c.mu.young[strings.Clone(userAgent)] = a
}

func parse(userAgent string) segment.Agent {
	plain := strings.Clone(strings.ToValidUTF8(userAgent, ""))
	ua := useragent.Parse(plain)
	a := segment.Agent{OS: ua.OS, Bot: ua.Bot || IsBot(plain)}
	switch {
	case ua.Tablet:
		a.Device = "tablet"
	case ua.Mobile:
		a.Device = "mobile"
	case ua.Desktop:
		a.Device = "desktop"
	}
	if strings.HasPrefix(plain, "Mozilla/") || strings.HasPrefix(plain, "Opera/") {
		a.Browser = ua.Name // others are the names of programs
	}
	return a
}

// robots are parts of the user agents of programs that act on their own: crawlers, monitors, headless browsers, libraries.
var robots = []string{
	"bot", "crawl", "spider", "slurp", "scrap", "archiver", "facebookexternalhit", "mediapartners", "google-read-aloud",
	"headless", "phantomjs", "selenium", "webdriver", "puppeteer", "playwright", "cypress/",
	"lighthouse", "pagespeed", "gtmetrix", "pingdom", "uptime", "statuscake", "site24x7", "datadog", "newrelic", "synthetic", "monitoring",
	"curl/", "wget/", "libwww", "httpie", "python-requests", "python-urllib", "aiohttp", "python-httpx", "go-http-client",
	"java/", "apache-httpclient", "node-fetch", "axios/", "undici", "guzzlehttp", "postmanruntime", "k6/", "apachebench", "jmeter",
	"preview", "embedly", "validator", "http_request", "bytespider", "perplexity", "claude-web", "chatgpt-user", "ia_archiver",
}

// people are texts in which those parts mean nothing.
var people = strings.NewReplacer("cubot", "")

// IsBot says whether a user agent is that of a program rather than of a person.
func IsBot(userAgent string) bool {
	plain := people.Replace(strings.ToLower(userAgent))
	for _, part := range robots {
		if strings.Contains(plain, part) {
			return true
		}
	}
	return false
}
