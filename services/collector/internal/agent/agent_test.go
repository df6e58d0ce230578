package agent_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waymark-analytics/waymark/services/collector/internal/agent"
	"github.com/waymark-analytics/waymark/services/collector/internal/segment"
)

const (
	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	iphone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
	ipad    = "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1"
	edge    = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36 Edg/138.0.0.0"
)

func TestPeople(t *testing.T) {
	c := agent.New(10)
	for text, want := range map[string]segment.Agent{
		firefox: {Device: "desktop", OS: "Linux", Browser: "Firefox"},
		iphone:  {Device: "mobile", OS: "iOS", Browser: "Safari"},
		ipad:    {Device: "tablet", OS: "iOS", Browser: "Safari"},
		edge:    {Device: "desktop", OS: "Windows", Browser: "Edge"},
		"Mozilla/5.0 (Linux; Android 13; CUBOT NOTE 50) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36": {Device: "mobile", OS: "Android", Browser: "Chrome"},
	} {
		for range 2 {
			if got := c.Parse(text); got != want {
				t.Errorf("%s: %+v, want %+v", text, got, want)
			}
		}
	}
}

func TestPrograms(t *testing.T) {
	c := agent.New(10)
	for _, text := range []string{
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/138.0.0.0 Safari/537.36",
		"python-requests/2.32.0", "Python-urllib/3.11", "curl/8.5.0", "Go-http-client/1.1", "facebookexternalhit/1.1", "Pingdom.com_bot_version_1.4",
		"Mozilla/5.0 (compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
	} {
		if !c.Parse(text).Bot {
			t.Errorf("%s is no bot", text)
		}
	}
}

func TestOddAgents(t *testing.T) {
	c := agent.New(10)
	for _, text := range []string{"", "(", ";;;((", "\xff\xfe", strings.Repeat("Mozilla/5.0 (", 5000), "\x00"} {
		c.Parse(text) // must not panic
	}
}

// The cache forgets what was not used for a while, and keeps what is used, at a bounded size.
func TestCacheIsBounded(t *testing.T) {
	c := agent.New(100)
	for i := range 10_000 {
		c.Parse(fmt.Sprintf("Mozilla/5.0 (X11; Linux x86_64; rv:%d.0) Gecko/20100101 Firefox/%d.0", i, i))
		c.Parse(firefox)
	}
	if n := c.Len(); n > 200 {
		t.Errorf("the cache holds %d", n)
	}
	if n := testing.AllocsPerRun(100, func() { c.Parse(firefox) }); n > 0 {
		t.Errorf("a known agent takes %v allocations", n)
	}
}

func BenchmarkParse(b *testing.B) {
	c := agent.New(100)
	b.ReportAllocs()
	for b.Loop() {
		if c.Parse(iphone).Device != "mobile" {
			b.Fatal("wrong device")
		}
	}
}
