package repocheck

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/waymark-analytics/waymark/pkg/config"
)

type composeFile struct {
	Services map[string]struct {
		Image       string            `yaml:"image"`
		Command     []string          `yaml:"command"`
		Environment map[string]string `yaml:"environment"`
		Volumes     []string          `yaml:"volumes"`
		Healthcheck map[string]any    `yaml:"healthcheck"`
	} `yaml:"services"`
	Volumes map[string]any `yaml:"volumes"`
}

func compose(t *testing.T) composeFile {
	t.Helper()
	var c composeFile
	if err := yaml.Unmarshal([]byte(read(t, "docker-compose.yml")), &c); err != nil {
		t.Fatalf("docker-compose.yml: %v", err)
	}
	return c
}

// pinned is an image with a tag that stays what it is, or one that its builder names.
func pinned(image string) bool {
	if strings.HasPrefix(image, "${WAYMARK_IMAGE") {
		return true
	}
	_, tag, ok := strings.Cut(image, ":")
	return ok && tag != "" && tag != "latest"
}

func TestImagesArePinned(t *testing.T) {
	for name, service := range compose(t).Services {
		if !pinned(service.Image) {
			t.Errorf("docker-compose.yml: %s: image %q: name a tag other than latest", name, service.Image)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(read(t, "deploy/docker/Dockerfile"), -1) {
		if !pinned(m[1]) {
			t.Errorf("Dockerfile: image %q: name a tag other than latest", m[1])
		}
	}
}

func TestBuilderHasTheModulesGo(t *testing.T) {
	image := regexp.MustCompile(`FROM golang:(\d+\.\d+)`).FindStringSubmatch(read(t, "deploy/docker/Dockerfile"))
	needed := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "go.mod"))
	if image == nil || needed == nil || image[1] != needed[1] {
		t.Errorf("the Dockerfile builds with Go %v, go.mod asks for %v", image, needed)
	}
}

func TestImageRunsAsNobodyInParticular(t *testing.T) {
	if !regexp.MustCompile(`(?m)^USER [1-9]\d*:[1-9]\d*$`).MatchString(read(t, "deploy/docker/Dockerfile")) {
		t.Error("the Dockerfile names no user by number: the services would run as root")
	}
}

func TestNoSecretHasADefault(t *testing.T) {
	secret := regexp.MustCompile(`PASSWORD|SECRET|TOKEN|(^|_)KEY$`)
	for name, service := range compose(t).Services {
		for key, value := range service.Environment {
			if secret.MatchString(key) && !regexp.MustCompile(`^\$\{[A-Z_]+:\?[^}]+\}$`).MatchString(value) {
				t.Errorf("docker-compose.yml: %s: %s is %q: expected ${VARIABLE:?what to do}", name, key, value)
			}
		}
	}
	for i, line := range strings.Split(read(t, "deploy/docker/env.example"), "\n") {
		if key, value, ok := strings.Cut(line, "="); ok && secret.MatchString(key) && value != "" {
			t.Errorf("env.example:%d: %s has a value", i+1, key)
		}
	}
}

func TestEveryContainerIsWatchedAndKeepsItsData(t *testing.T) {
	c := compose(t)
	mounted := map[string]bool{}
	for name, service := range c.Services {
		if len(service.Healthcheck) == 0 {
			t.Errorf("docker-compose.yml: %s has no health check", name)
		}
		for _, v := range service.Volumes {
			volume, _, _ := strings.Cut(v, ":")
			mounted[volume] = true
		}
	}
	for volume := range c.Volumes {
		if !mounted[volume] {
			t.Errorf("docker-compose.yml: nobody mounts the volume %s", volume)
		}
	}
	for _, want := range []string{"clickhouse", "collector", "kafka-1", "kafka-2", "kafka-3", "loader", "migrate", "sessionizer"} {
		if _, ok := c.Services[want]; !ok {
			t.Errorf("docker-compose.yml: no service %s among %v", want, slices.Sorted(maps.Keys(c.Services)))
		}
	}
}

// TestContainersConfigurationIsGood reads the services' configuration as they would, with the variables that they are given.
func TestContainersConfigurationIsGood(t *testing.T) {
	const name = "deploy/docker/waymark.yaml"
	var env []string
	for _, key := range slices.Sorted(maps.Keys(compose(t).Services["collector"].Environment)) {
		value := "any"
		if key == "WAYMARK_KAFKA_REPLICATION" {
			value = "3"
		}
		env = append(env, key+"="+value)
	}
	c, err := config.Parse([]byte(read(t, name)), config.Origin{File: name, Env: env})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("docker-compose.yml gives variables that mean nothing: %v", c.Warnings)
	}
	if c.ClickHouse.Password.Reveal() != "any" || c.ImportKey.Reveal() != "any" || c.Kafka.Replication != 3 {
		t.Errorf("not all variables have reached the configuration: %+v, import key %q", c.ClickHouse, c.ImportKey.Reveal())
	}
}
