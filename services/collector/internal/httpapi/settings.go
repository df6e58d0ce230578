package httpapi

import (
	"net/http"
)

// settings answers a browser library that asks where and under which key to send. It takes both from the answer, not from
// what it was loaded with, so the key is given back.
func (a *API) settings(r *http.Request, key string) *answer {
	src := a.keys[key]
	if src == nil {
		return refuse(http.StatusUnauthorized, "no source has this write key")
	}
	protocol := "http"
	if secure(r) {
		protocol = "https"
	}
	out := append([]byte(nil), `{"integrations":{"Segment.io":{"apiKey":`...)
	out = append(out, quote(key)...)
	out = append(out, `,"apiHost":`...)
	out = append(out, quote(r.Host+"/v1")...)
	out = append(out, `,"protocol":"`...)
	out = append(out, protocol...)
	out = append(out, `","unbundledIntegrations":[],"addBundledMetadata":true,"maybeBundledConfigIds":{}}},`...)
	out = append(out, `"plan":{"track":{"__default":{"enabled":true,"integrations":{}}},"identify":{"__default":{"enabled":true}},"group":{"__default":{"enabled":true}}},`...)
	out = append(out, `"edgeFunction":{},"analyticsNextEnabled":true,"middlewareSettings":{},"enabledMiddleware":{},"metrics":{"sampleRate":0},`...)
	out = append(out, `"legacyVideoPluginsEnabled":false,"remotePlugins":[]}`...)
	return &answer{body: out}
}
