package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/waymark-analytics/waymark/pkg/config"
)

// service is what every service of the product is to this package.
type service interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
	Failed() <-chan error
}

// startServices starts what makes numbers of events, the readers before the writer, so that nothing waits in the log for long.
func (in *installation) startServices(ctx context.Context) error {
	in.Endpoints.Kafka = strings.Join(in.kafka.Brokers, ",")
	in.Endpoints.ImportKey = cmp.Or(in.config.ImportKey.Reveal(), in.home.ImportKey)
	in.Endpoints.WriteKey = firstWebKey(in.sources())
	return nil
}

// sources are the projects with their sources: the configured ones, and without a web source among them the folder's own.
func (in *installation) sources() []config.Project {
	projects := in.config.Projects
	if firstWebKey(projects) != "" {
		return projects
	}
	own := config.Source{Name: "web", Kind: "web", WriteKey: config.Secret(in.home.WriteKey)}
	projects = append([]config.Project{}, projects...)
	for i := range projects {
		if projects[i].Name == defaultProject {
			projects[i].Sources = append(append([]config.Source{}, projects[i].Sources...), own)
			return projects
		}
	}
	return append(projects, config.Project{Name: defaultProject, Sources: []config.Source{own}, Rules: in.config.DefaultRules()})
}

// defaultProject is the project of an installation whose configuration names no web source.
const defaultProject = "default"

func firstWebKey(projects []config.Project) string {
	for _, p := range projects {
		for _, s := range p.Sources {
			if s.Kind == "web" {
				return s.WriteKey.Reveal()
			}
		}
	}
	return ""
}

// launch starts a service and registers its stop and its failure.
func (in *installation) launch(ctx context.Context, name string, s service) error {
	in.stack.Push(name, s.Stop)
	if err := s.Start(ctx); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	stop := make(chan struct{})
	in.stack.Push(name+" watch", func(context.Context) error { close(stop); return nil })
	go func() {
		select {
		case err := <-s.Failed():
			in.failed <- fmt.Errorf("%s: %w", name, err)
		case <-stop:
		}
	}()
	return nil
}
