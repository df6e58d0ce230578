package batch

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/waymark-analytics/waymark/pkg/chdb"
	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/schemas/facts"
)

// funnelBlock is the columns of `funnel_defs`.
type funnelBlock struct {
	*chdb.Block
	project, funnel, rules *chdb.Text
	scope                  *chdb.Low
	version                *chdb.Int64
	steps                  *chdb.TextList
	optional               *chdb.List[bool]
	fields                 *chdb.List[[]string]
	values                 *chdb.List[[][]string]
}

func newFunnelBlock() *funnelBlock {
	b := &funnelBlock{Block: chdb.NewBlock("funnel_defs")}
	b.project, b.funnel, b.scope, b.version = b.Text("project"), b.Text("funnel"), b.Low("scope"), b.Int64("version")
	b.steps, b.optional = b.TextLists("steps"), b.BoolLists("optional")
	b.fields = b.TextLists2("fields")
	b.values = b.TextLists3("values")
	b.rules = b.Text("rule_version")
	return b
}

// append adds a definition; of several of one funnel the highest version counts.
func (b *funnelBlock) append(d *facts.FunnelDef, version int64) {
	b.project.Append(d.Project)
	b.funnel.Append(d.Name)
	b.scope.Append(d.Scope)
	b.version.Append(version)
	var steps []string
	var optional []bool
	var fields [][]string
	var values [][][]string
	for _, step := range d.Steps {
		steps, optional = append(steps, step.Name), append(optional, step.Optional)
		var names []string
		var wanted [][]string
		for _, term := range step.When {
			names = append(names, term.Field)
			var forms []string
			for _, v := range term.Values {
				forms = append(forms, comparableForm(v))
			}
			wanted = append(wanted, forms)
		}
		fields, values = append(fields, names), append(values, wanted)
	}
	b.steps.Append(steps)
	b.optional.Append(optional)
	b.fields.Append(fields)
	b.values.Append(values)
	b.rules.Append(d.RuleVersion)
}

// funnelsOf describes the funnels of a project as frames do.
func funnelsOf(project string, r *rules.Rules) []*facts.FunnelDef {
	var out []*facts.FunnelDef
	for _, f := range r.Funnels {
		d := &facts.FunnelDef{Project: project, Name: f.Name, Scope: string(f.Scope), RuleVersion: r.Version}
		for _, step := range f.Steps {
			described := &facts.FunnelStep{Name: step.Name, Optional: step.Optional}
			for _, term := range step.When {
				values := make([]string, 0, len(term.Values))
				for _, v := range term.Values {
					text, err := json.Marshal(v)
					if err != nil {
						panic("rules hold a value that is no JSON: " + err.Error()) // they were read from YAML scalars
					}
					values = append(values, string(text))
				}
				described.When = append(described.When, &facts.FunnelTerm{Field: term.Field, Values: values})
			}
			d.Steps = append(d.Steps, described)
		}
		out = append(out, d)
	}
	return out
}

// comparableForm is a JSON value as the views compare it: a letter for its type and its text, empty for null.
func comparableForm(value string) string {
	switch v := event.Scalar(jsontext.Value(value)).(type) {
	case string:
		return "s" + v
	case int64, float64:
		return "n" + value
	case bool:
		return "b" + value
	}
	return ""
}
