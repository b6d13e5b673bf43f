package config

import (
	_ "embed"
	"encoding"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"reflect"
	"strconv"
	"strings"
)

// sections is the source with the documentation: comments are written once and shown by the editor and by
// "imsafe config print" alike.
//
//go:embed sections.go
var sections string

// Write prints c as a file that Parse reads back, each section and key with its comment. A key that has
// its default is commented out, so the file shows what the operator decided.
func (c *Config) Write(w io.Writer) error {
	docs, err := readDocs()
	if err != nil {
		return err
	}
	p := &printer{w: w, docs: docs}
	p.printf("# Configuration of imsafe. A key in comments shows its default.\n")
	p.section("", reflect.ValueOf(*c), reflect.ValueOf(Default()))
	return p.err
}

// Keys returns every section and key of c by its name in the file, for who reads it as JSON.
func (c *Config) Keys() map[string]any { return keys(reflect.ValueOf(*c)) }

func keys(v reflect.Value) map[string]any {
	t, all := v.Type(), map[string]any{}
	for i := range t.NumField() {
		name, field := t.Field(i).Tag.Get("toml"), v.Field(i)
		switch {
		case isSection(field.Type()):
			all[name] = keys(field)
		case isList(field.Type()):
			list := make([]map[string]any, field.Len())
			for k := range list {
				list[k] = keys(field.Index(k))
			}
			all[name] = list
		case field.Kind() == reflect.Slice && field.IsNil():
			all[name] = []string{} // none, in JSON too
		default:
			all[name] = field.Interface()
		}
	}
	return all
}

// docs has the comment of each struct and field by "Type" and "Type.Field".
type docs map[string]string

func readDocs() (docs, error) {
	file, err := parser.ParseFile(token.NewFileSet(), "sections.go", sections, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	d := docs{}
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range gen.Specs {
			t, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			d[t.Name.Name] = gen.Doc.Text()
			if s, ok := t.Type.(*ast.StructType); ok {
				for _, f := range s.Fields.List {
					d[t.Name.Name+"."+f.Names[0].Name] = f.Doc.Text()
				}
			}
		}
	}
	return d, nil
}

// printer writes until the first error.
type printer struct {
	w    io.Writer
	docs docs
	err  error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// section prints the keys of a struct, then its sections.
func (p *printer) section(name string, v, def reflect.Value) {
	t := v.Type()
	for i := range t.NumField() {
		if f := t.Field(i); !isSection(f.Type) && !isList(f.Type) {
			p.comment(p.docs[t.Name()+"."+f.Name])
			p.key(f.Tag.Get("toml"), v.Field(i), def.Field(i))
		}
	}
	for i := range t.NumField() {
		if f := t.Field(i); isSection(f.Type) {
			full := join(name, f.Tag.Get("toml"))
			p.printf("\n")
			p.comment(p.docs[t.Name()+"."+f.Name])
			// The comment of a type begins with its name in Go; here the section's name says more.
			p.comment(strings.Replace(p.docs[f.Type.Name()], f.Type.Name(), full, 1))
			if hasKeys(f.Type) {
				p.printf("[%s]\n", full)
			}
			p.section(full, v.Field(i), def.Field(i))
		}
	}
	for i := range t.NumField() {
		if f := t.Field(i); isList(f.Type) {
			p.list(join(name, f.Tag.Get("toml")), p.docs[t.Name()+"."+f.Name], v.Field(i))
		}
	}
}

// list prints the sections of a list, or one in comments to show how they look.
func (p *printer) list(full, comment string, v reflect.Value) {
	element := v.Type().Elem()
	p.printf("\n")
	p.comment(comment)
	p.comment(strings.Replace(p.docs[element.Name()], element.Name(), full, 1))
	none := reflect.Zero(element)
	if v.Len() == 0 {
		p.printf("# [[%s]]\n", full)
		p.section(full, none, none)
	}
	for i := range v.Len() {
		p.printf("[[%s]]\n", full)
		p.section(full, v.Index(i), none)
	}
}

// hasKeys reports whether a section has keys of its own, so that its header means something.
func hasKeys(t reflect.Type) bool {
	for i := range t.NumField() {
		if !isSection(t.Field(i).Type) && !isList(t.Field(i).Type) {
			return true
		}
	}
	return false
}

func (p *printer) comment(text string) {
	for line := range strings.Lines(text) {
		p.printf("# %s\n", strings.TrimRight(line, "\n"))
	}
}

func (p *printer) key(name string, v, def reflect.Value) {
	mark := ""
	if reflect.DeepEqual(v.Interface(), def.Interface()) {
		mark = "# "
	}
	p.printf("%s%s = %s\n", mark, name, value(v))
}

// value writes a value in TOML's form.
func value(v reflect.Value) string {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		if err != nil {
			return strconv.Quote("") // none of our types gives one
		}
		return strconv.Quote(string(text))
	}
	switch v.Kind() {
	case reflect.String:
		return strconv.Quote(v.String())
	case reflect.Slice:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = value(v.Index(i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprint(v.Interface())
}
