package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"confgate/core/auth"
	"confgate/transport"
)

// tenantsKey is the key of the registry of tenants in a YAML file: a list of
// mappings. It is the only key that is no setting.
const tenantsKey = "tenants"

// maxTenantsFile bounds what is read of a file with tenants, in bytes.
const maxTenantsFile = 8 << 20

// readTenants reads the registry in a file; nil: it has none.
func readTenants(name string) ([]auth.Tenant, error) {
	text, err := readFile(name, maxTenantsFile)
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, nil
	}
	var all []auth.Tenant
	err = eachField(doc.Content[0], func(key string, value *yaml.Node) error {
		if key != tenantsKey {
			return nil
		}
		all, err = parseTenants(value)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return all, nil
}

func parseTenants(list *yaml.Node) ([]auth.Tenant, error) {
	if list.Kind != yaml.SequenceNode {
		return nil, fmt.Errorf("line %d: %s must be a list", list.Line, tenantsKey)
	}
	all := make([]auth.Tenant, 0, len(list.Content))
	for _, item := range list.Content {
		one, err := parseTenant(item)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func parseTenant(item *yaml.Node) (t auth.Tenant, err error) {
	if item.Kind != yaml.MappingNode {
		return t, fmt.Errorf("line %d: a tenant must be name: value", item.Line)
	}
	encoding := auth.Base64
	var secrets []string
	err = eachField(item, func(key string, value *yaml.Node) error {
		values, err := scalars(value)
		if err != nil {
			return fmt.Errorf("line %d: %s: %w", value.Line, key, err)
		}
		if key == "secret" || key == "secret-file" || key == "secret-encoding" {
			err = secretField(key, values, &secrets, &encoding)
		} else {
			err = tenantField(key, values, &t)
		}
		if err != nil {
			return fmt.Errorf("line %d: %s: %w", value.Line, key, err)
		}
		return nil
	})
	for _, text := range secrets {
		secret, parseErr := auth.ParseSecret(text, encoding)
		err = errors.Join(err, parseErr)
		t.Secrets = append(t.Secrets, secret)
	}
	if err != nil {
		return t, fmt.Errorf("tenant %q: %w", t.Code, err)
	}
	return t, nil
}

// eachField calls do with each field of a mapping, none of which may stand there
// twice.
func eachField(m *yaml.Node, do func(key string, value *yaml.Node) error) error {
	seen := make(map[string]bool)
	for i := 0; i+1 < len(m.Content); i += 2 {
		key := m.Content[i]
		if seen[key.Value] {
			return fmt.Errorf("line %d: %s stands there twice", key.Line, key.Value)
		}
		seen[key.Value] = true
		if err := do(key.Value, m.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// secretField sets what has to do with keys that are tokens. Their encoding may
// stand after them.
func secretField(key string, values []string, secrets *[]string, encoding *auth.Encoding) error {
	switch key {
	case "secret":
		*secrets = append(*secrets, values...)
	case "secret-file":
		texts, err := readSecrets(values)
		*secrets = append(*secrets, texts...)
		return err
	default:
		text, err := onlyOne(values)
		if err != nil {
			return err
		}
		return one(encoding, auth.Base64, auth.Plain)(text)
	}
	return nil
}

// tenantField sets one of the other fields.
func tenantField(key string, values []string, t *auth.Tenant) error {
	switch key {
	case "key":
		t.Keys = append(t.Keys, values...)
		return nil
	case "key-file":
		texts, err := readSecrets(values)
		t.Keys = append(t.Keys, texts...)
		return err
	case "origin":
		allow, err := transport.Origins(values...)
		t.Origin = allow
		return err
	}
	text, err := onlyOne(values)
	if err != nil {
		return err
	}
	switch key {
	case "code":
		t.Code = text
	case "from":
		t.From, err = parseMoment(text)
	case "to":
		if t.Until, err = parseMoment(text); err == nil && len(text) == len(time.DateOnly) {
			t.Until = t.Until.AddDate(0, 0, 1) // that day counts
		}
	case "users":
		if t.MaxUsers, err = strconv.Atoi(text); err != nil {
			return errors.New("must be a number")
		}
	default:
		return errors.New("is no field of a tenant: code, key, key-file, secret, secret-file, secret-encoding, from, to, users, origin")
	}
	return err
}

func onlyOne(values []string) (string, error) {
	if len(values) != 1 {
		return "", errors.New("must be one value")
	}
	return values[0], nil
}

// parseMoment reads a day of this machine's time zone, or a moment.
func parseMoment(text string) (time.Time, error) {
	if day, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return day, nil
	}
	moment, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return moment, errors.New("must be a day, 2026-12-31, or a moment, 2026-12-31T18:00:00+09:00")
	}
	return moment, nil
}

// readFile reads a file that may have so many bytes. A directory, or a device that
// never ends, is an error.
func readFile(name string, most int64) ([]byte, error) {
	at, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !at.Mode().IsRegular():
		return nil, fmt.Errorf("%s: not a file", name)
	case at.Size() > most:
		return nil, fmt.Errorf("%s: longer than %d bytes", name, most)
	}
	return os.ReadFile(name)
}
