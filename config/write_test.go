package config_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"imsafe/config"
)

// TestKeys: a program reads the same names and values as stand in the file, and an empty list where there is none.
func TestKeys(t *testing.T) {
	c := config.Example()
	text, err := json.Marshal(c.Keys())
	if err != nil {
		t.Fatal(err)
	}
	var read struct {
		Node struct {
			DataDir string `json:"data_dir"`
			Roles   []string
		}
		CI struct {
			TLS struct{ Listen []string }
		}
	}
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if read.Node.DataDir != c.Node.DataDir || !reflect.DeepEqual(read.CI.TLS.Listen, []string{"192.0.2.1:5061", "[2001:db8::1]:5061"}) {
		t.Errorf("%+v", read)
	}
	if strings.Contains(string(text), "null") {
		t.Errorf("%s", text)
	}
}
