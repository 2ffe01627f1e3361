// The parts of the bench that must not be the bottleneck: a stub engine, Go's own reverse proxy, and a load generator.
//
//	bench stub  -addr 127.0.0.1:0 -bytes 8192 [-target http://…]     (searches are answered, the rest goes to the target)
//	bench proxy -addr 127.0.0.1:0 -target http://127.0.0.1:7700
//	bench load  -url http://… -path /indexes/x/search -body '{"q":"a"}' -key K -connections 32 -seconds 3 [-rate 1000]
//
// A server prints its address as the first line. The load generator prints one JSON object.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sort"
	"strings"
	"sync"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: bench stub|proxy|load …")
		os.Exit(2)
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	addr := flags.String("addr", "127.0.0.1:0", "listen address")
	size := flags.Int("bytes", 8192, "size of the stub's answer")
	target := flags.String("target", "", "where the proxy sends")
	base := flags.String("url", "", "what to load")
	path := flags.String("path", "/", "path of the request")
	body := flags.String("body", "", "body of the request; empty = GET")
	key := flags.String("key", "", "bearer key")
	connections := flags.Int("connections", 32, "requests in flight")
	seconds := flags.Float64("seconds", 3, "how long")
	rate := flags.Float64("rate", 0, "requests per second in all; 0 = as many as come back")
	_ = flags.Parse(os.Args[2:])
	switch os.Args[1] {
	case "stub":
		canned := stub(*size)
		if *target == "" {
			serve(*addr, canned)
			return
		}
		rest := reverseProxy(*target)
		serve(*addr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/search") {
				canned.ServeHTTP(w, r)
			} else {
				rest.ServeHTTP(w, r)
			}
		}))
	case "proxy":
		serve(*addr, reverseProxy(*target))
	case "load":
		load(*base+*path, *body, *key, *connections, *seconds, *rate)
	default:
		fmt.Fprintln(os.Stderr, "unknown part "+os.Args[1])
		os.Exit(2)
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(addr string, handler http.Handler) {
	listener, err := net.Listen("tcp", addr)
	check(err)
	fmt.Println(listener.Addr().String())
	check(http.Serve(listener, handler))
}

func reverseProxy(target string) http.Handler {
	to, err := url.Parse(target)
	check(err)
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
	return proxy
}

// An answer in the shape of a search's, padded to `size` bytes.
func stub(size int) http.Handler {
	hits := []byte(`{"hits":[{"id":1,"title":"`)
	rest := []byte(`"}],"query":"a","processingTimeMs":0,"limit":20,"offset":0,"estimatedTotalHits":1}`)
	pad := size - len(hits) - len(rest)
	if pad < 0 {
		pad = 0
	}
	answer := append(append(hits, bytes.Repeat([]byte("x"), pad)...), rest...)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
		_, _ = w.Write(answer)
	})
}

type result struct {
	Requests int     `json:"requests"`
	Errors   int     `json:"errors"`
	PerSec   float64 `json:"requestsPerSecond"`
	P50      float64 `json:"latencyMsP50"`
	P90      float64 `json:"latencyMsP90"`
	P99      float64 `json:"latencyMsP99"`
	Max      float64 `json:"latencyMsMax"`
}

// Closed loop without a rate; with one, requests are due at fixed times. A request that is late because an earlier one
// still ran counts from when it was due, so that a stall is not hidden; the timer's own lateness is not counted.
func load(url, body, key string, connections int, seconds, rate float64) {
	client := &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections, DisableCompression: true},
		Timeout:   30 * time.Second,
	}
	once := func() bool {
		method, reader := http.MethodGet, io.Reader(nil)
		if body != "" {
			method, reader = http.MethodPost, strings.NewReader(body)
		}
		request, err := http.NewRequest(method, url, reader)
		check(err)
		if body != "" {
			request.Header.Set("Content-Type", "application/json")
		}
		if key != "" {
			request.Header.Set("Authorization", "Bearer "+key)
		}
		response, err := client.Do(request)
		if err != nil {
			return false
		}
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		return err == nil && response.StatusCode == http.StatusOK
	}
	for warm := 0; warm < connections*4; warm++ {
		once()
	}
	var lock sync.Mutex
	var latencies []float64
	errors := 0
	start := time.Now()
	end := start.Add(time.Duration(seconds * float64(time.Second)))
	var group sync.WaitGroup
	for worker := 0; worker < connections; worker++ {
		group.Add(1)
		go func(worker int) {
			defer group.Done()
			var mine []float64
			failed := 0
			for turn := 0; ; turn++ {
				due := time.Now()
				if rate > 0 {
					due = start.Add(time.Duration(float64(turn*connections+worker) / rate * float64(time.Second)))
					if wait := time.Until(due); wait > 0 {
						time.Sleep(wait)
						if due.Before(end) {
							due = time.Now()
						}
					}
				}
				if due.After(end) {
					break
				}
				if !once() {
					failed++
				}
				mine = append(mine, float64(time.Since(due).Nanoseconds())/1e6)
			}
			lock.Lock()
			latencies = append(latencies, mine...)
			errors += failed
			lock.Unlock()
		}(worker)
	}
	group.Wait()
	took := time.Since(start).Seconds()
	sort.Float64s(latencies)
	at := func(share float64) float64 {
		if len(latencies) == 0 {
			return 0
		}
		return latencies[int(share*float64(len(latencies)-1))]
	}
	out, _ := json.Marshal(result{len(latencies), errors, float64(len(latencies)) / took, at(0.5), at(0.9), at(0.99), at(1)})
	fmt.Println(string(out))
}
