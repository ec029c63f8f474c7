package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// sample is what a reference page prints: a call with an example of its answer
// and programs that make it.
type sample struct {
	service service
	example []byte // the answer, as printed
	tasks   []map[string]any

	java, python, golang string
}

// TestSamples runs the programs that the provider's reference pages print. They
// are taken out of the pages when the test runs: nothing of them is kept here.
// Placeholders are filled in; the endpoint comes from the environment, as the
// SDKs allow.
func TestSamples(t *testing.T) {
	dir := os.Getenv("ERRAND_SEEDS")
	if dir == "" {
		dir = "../../shared/seeds"
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) == 0 {
		t.Skipf("there are no reference pages in %s; ERRAND_SEEDS names another place", dir)
	}
	if testing.Short() {
		t.Skip("installs SDKs")
	}
	srv := startServer(t)
	w := newWorld("samples")
	srv.build(t, w)
	for _, file := range pages {
		p := readSample(t, file)
		t.Run(filepath.Base(file), func(t *testing.T) { runSample(t, srv, w, p) })
	}
}

func readSample(t *testing.T, file string) sample {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	p := sample{
		java:   program(text, "package com.huaweicloud.sdk.test;"),
		python: program(text, "# coding: utf-8"),
		golang: program(text, "package main"),
	}
	for _, s := range services {
		if strings.Contains(text, "huaweicloudsdk"+s.name+".") || strings.Contains(text, s.title+" console") {
			p.service = s
			break
		}
	}
	at := strings.Index(text, `"task_count"`)
	if p.service.name == "" || at < 0 {
		t.Fatalf("%s: no product, or no example of an answer", file)
	}
	var answer struct{ Tasks []map[string]any }
	var raw json.RawMessage
	d := json.NewDecoder(strings.NewReader(text[strings.LastIndex(text[:at], "{"):]))
	if err := d.Decode(&raw); err != nil {
		t.Fatalf("%s: example: %v", file, err)
	}
	if err := json.Unmarshal(raw, &answer); err != nil || len(answer.Tasks) == 0 {
		t.Fatalf("%s: example has no tasks, %v", file, err)
	}
	p.example, p.tasks = raw, answer.Tasks
	return p
}

var lineNumber = regexp.MustCompile(`^\s*\d+$`)

// program returns the program that begins with the line first: to the column of
// line numbers of the next one, or to its last closing brace.
func program(text, first string) string {
	lines := strings.Split(text, "\n")
	begin := -1
	for i, l := range lines {
		if strings.TrimSpace(l) == first {
			begin = i
			break
		}
	}
	if begin < 0 {
		return ""
	}
	end := len(lines)
	for i := begin; i < len(lines); i++ {
		if lineNumber.MatchString(lines[i]) {
			end = i
			break
		}
	}
	if !strings.HasPrefix(first, "#") {
		for end > begin && strings.TrimRight(lines[end-1], " \r") != "}" {
			end--
		}
	}
	return strings.Join(lines[begin:end], "\n") + "\n"
}

func runSample(t *testing.T, srv *server, w *world, p sample) {
	const region = "cn-north-4"
	instance := uuid("samples", fmt.Sprint(ids(p.tasks))) // two pages show the same record
	task := p.tasks[0]["id"].(string)
	owner := srv.as(w)
	if _, err := owner.cli(t.Context(), "instance", "show", instance); err != nil {
		owner.add(t, p.service, "samples", instance)
	}
	file := filepath.Join(t.TempDir(), "example.json")
	if err := os.WriteFile(file, p.example, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := owner.cli(t.Context(), "import", "--instance", instance, file); err != nil {
		t.Fatal(err)
	}
	endpoint := srv.dms
	if p.service.name == "dcs" {
		endpoint = srv.dcs
	}
	env := []string{
		"CLOUD_SDK_AK=" + w.keys.operator.ak, "CLOUD_SDK_SK=" + w.keys.operator.sk,
		"HUAWEICLOUD_SDK_REGION_" + strings.ToUpper(p.service.name) + "_CN_NORTH_4=" + endpoint,
	}
	fill := strings.NewReplacer("{project_id}", w.project, "{instance_id}", instance, "{task_id}", task, "<YOUR REGION>", region)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for _, l := range []struct {
		name, text string
		run        func(context.Context, *testing.T, []string, string) string
		holds      func(string, []map[string]any) error
	}{
		{"Go", p.golang, runGoSample, printsJSON},
		{"Python", p.python, runPythonSample, printsJSON},
		{"Java", p.java, runJavaSample, printsMembers},
	} {
		t.Run(l.name, func(t *testing.T) {
			if l.text == "" {
				t.Skip("the page prints no such program")
			}
			out := l.run(ctx, t, env, fill.Replace(l.text))
			if err := l.holds(out, p.tasks); err != nil {
				t.Errorf("%v\nthe program printed:\n%s", err, out)
			}
		})
	}
}

func ids(tasks []map[string]any) (out []any) {
	for _, t := range tasks {
		out = append(out, t["id"])
	}
	return out
}

// newest returns the newest release of a language's SDK that is measured.
func newest(name string) (c client) {
	for _, x := range clients {
		if x.name == name {
			c = x
		}
	}
	return c
}

// runGoSample runs a Go program. As printed they use package os without
// importing it and do not compile: the import is added.
func runGoSample(ctx context.Context, t *testing.T, env []string, text string) string {
	if !strings.Contains(text, `"os"`) {
		text = strings.Replace(text, `"fmt"`, `"fmt"; "os"`, 1)
	}
	dir := t.TempDir()
	source, bin := filepath.Join(dir, "main.go"), filepath.Join(dir, "sample")
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	mod := "-modfile=" + newest("Go").version + ".mod"
	if _, err := command(ctx, "clients/go", []string{"GOWORK=off", "GOFLAGS="}, "go", "build", "-buildvcs=false", mod, "-o", bin, source); err != nil {
		t.Fatal(err)
	}
	return run(ctx, t, env, bin)
}

func runPythonSample(ctx context.Context, t *testing.T, env []string, text string) string {
	argv := newest("Python").ready(t)
	source := filepath.Join(t.TempDir(), "sample.py")
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return run(ctx, t, env, argv[0], "-W", "ignore", source)
}

var javaClass = regexp.MustCompile(`public class (\w+)`)

func runJavaSample(ctx context.Context, t *testing.T, env []string, text string) string {
	path, err := javaClasspath(ctx, newest("Java"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, ".rocketmq.") {
		t.Skip("the newest release on Maven Central has no background tasks of RocketMQ")
	}
	dir, name := t.TempDir(), javaClass.FindStringSubmatch(text)[1]
	source := filepath.Join(dir, name+".java")
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := command(ctx, dir, nil, "javac", "-nowarn", "-Xlint:none", "-encoding", "UTF-8", "-cp", path, "-d", dir, source); err != nil {
		t.Fatal(err)
	}
	return run(ctx, t, env, "java", "-cp", dir+":"+path, "com.huaweicloud.sdk.test."+name)
}

func run(ctx context.Context, t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	out, err := command(ctx, t.TempDir(), env, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// printsJSON wants the tasks, and no others, in an answer that is printed as
// JSON.
func printsJSON(out string, tasks []map[string]any) error {
	begin, end := strings.Index(out, "{"), strings.LastIndex(out, "}")
	if begin < 0 || end < begin {
		return fmt.Errorf("there is no JSON in what was printed")
	}
	got, err := object(json.RawMessage(out[begin : end+1]))
	if err != nil {
		return err
	}
	list, _ := got["tasks"].([]any)
	if len(list) != len(tasks) {
		return fmt.Errorf("%d tasks were printed, want %d", len(list), len(tasks))
	}
	for i, t := range tasks {
		if err := (client{}).same(list[i].(map[string]any), normal(t)); err != nil {
			return fmt.Errorf("task %d: %w", i, err)
		}
	}
	return nil
}

// printsMembers wants every member of the tasks in an answer that is printed as
// the Java SDK prints objects: a line for each member.
func printsMembers(out string, tasks []map[string]any) error {
	for _, task := range tasks {
		for name, v := range task {
			if nested, isObject := v.(map[string]any); isObject {
				if err := printsMembers(out, []map[string]any{nested}); err != nil {
					return err
				}
				continue
			}
			if line := fmt.Sprintf("%s: %v\n", camel(name), v); !strings.Contains(out, line) {
				return fmt.Errorf("%q was not printed", line)
			}
		}
	}
	return nil
}

// camel turns user_name into userName.
func camel(name string) string {
	words := strings.Split(name, "_")
	for i, w := range words[1:] {
		words[i+1] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}
