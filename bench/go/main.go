// The parts of the bench that must not be the bottleneck: a stub engine, Go's own reverse proxy, and a load generator.
//
//	bench stub  -addr 127.0.0.1:0 -bytes 8192 [-target http://…]     [-answer FILE] [-slow-every 50 -slow-ms 100] (searches are answered, the rest goes to the target)
//	bench proxy -addr 127.0.0.1:0 -target http://127.0.0.1:7700
//	bench load  -url http://… -path /indexes/x/search -body '{"q":"a"}' -key K -connections 32 -seconds 3 [-rate 1000]
//
// A server prints its address as the first line. The load generator prints one JSON object.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	neturl "net/url"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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
	answer := flags.String("answer", "", "file with the body of the stub's answer; empty = made up")
	slowEvery := flags.Int("slow-every", 0, "the stub lets one of so many searches wait; 0 = none")
	slowMs := flags.Int("slow-ms", 0, "for how long")
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
		stub(*addr, canned(*size, *answer), *target, *slowEvery, time.Duration(*slowMs)*time.Millisecond)
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
	to, err := neturl.Parse(target)
	check(err)
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
	return proxy
}

// The file's bytes, or an answer in the shape of a search's, padded to `size` bytes; with its head: one write gives it.
func canned(size int, file string) []byte {
	hits := `{"hits":[{"id":1,"title":"`
	rest := `"}],"query":"a","processingTimeMs":0,"limit":20,"offset":0,"estimatedTotalHits":1}`
	body := hits + strings.Repeat("x", max(0, size-len(hits)-len(rest))) + rest
	if file != "" {
		text, err := os.ReadFile(file)
		check(err)
		body = string(text)
	}
	return []byte(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
}

// Answers every search with the same bytes; other requests go to the target. It speaks HTTP over the bare socket, as the load
// generator does: with net/http these two took more time than a proxy between them, and were what was measured.
func stub(addr string, answer []byte, target string, slowEvery int, pause time.Duration) {
	listener, err := net.Listen("tcp", addr)
	check(err)
	fmt.Println(listener.Addr().String())
	var searches atomic.Int64
	for {
		socket, err := listener.Accept()
		check(err)
		go func() {
			defer socket.Close()
			reader := bufio.NewReaderSize(socket, 32<<10)
			for {
				if !bytes.Contains(firstLine(reader), []byte("/search ")) {
					if forward(reader, socket, target) != nil {
						return
					}
					continue
				}
				if _, err := readMessage(reader); err != nil {
					return
				}
				if slowEvery > 0 && searches.Add(1)%int64(slowEvery) == 0 {
					time.Sleep(pause)
				}
				if _, err := socket.Write(answer); err != nil {
					return
				}
			}
		}()
	}
}

// Waits for a request and answers its first line, as far as it came in the first packet.
func firstLine(reader *bufio.Reader) []byte {
	_, _ = reader.Peek(1)
	peeked, _ := reader.Peek(reader.Buffered())
	line, _, _ := bytes.Cut(peeked, []byte("\r\n"))
	return line
}

func forward(reader *bufio.Reader, socket net.Conn, target string) error {
	request, err := http.ReadRequest(reader)
	if err != nil {
		return err
	}
	request.RequestURI = ""
	request.URL.Scheme, request.URL.Host = "http", strings.TrimPrefix(target, "http://")
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return response.Write(socket)
}

// Reads one message with a content length (or no body) or in chunks; answers its first line.
func readMessage(reader *bufio.Reader) (string, error) {
	first := ""
	length, chunked := 0, false
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return "", err
		}
		line = bytes.TrimRight(line, "\r\n")
		if first == "" {
			first = string(line)
			continue
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("content-length")) {
			length, err = strconv.Atoi(string(bytes.TrimSpace(value)))
			if err != nil {
				return "", err
			}
		} else if bytes.EqualFold(name, []byte("transfer-encoding")) {
			chunked = true
		}
	}
	if chunked {
		_, err := io.Copy(io.Discard, httputil.NewChunkedReader(reader))
		if err == nil {
			_, err = reader.ReadSlice('\n')
		}
		return first, err
	}
	_, err := reader.Discard(length)
	return first, err
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
	at, err := neturl.Parse(url)
	check(err)
	head := fmt.Sprintf("Host: %s\r\n", at.Host)
	if key != "" {
		head += fmt.Sprintf("Authorization: Bearer %s\r\n", key)
	}
	request := []byte(fmt.Sprintf("GET %s HTTP/1.1\r\n%s\r\n", at.RequestURI(), head))
	if body != "" {
		head += fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
		request = []byte(fmt.Sprintf("POST %s HTTP/1.1\r\n%s\r\n%s", at.RequestURI(), head, body))
	}
	sockets := make([]net.Conn, connections)
	readers := make([]*bufio.Reader, connections)
	once := func(worker int) bool {
		if sockets[worker] == nil {
			socket, err := net.Dial("tcp", at.Host)
			if err != nil {
				return false
			}
			sockets[worker], readers[worker] = socket, bufio.NewReaderSize(socket, 32<<10)
		}
		_ = sockets[worker].SetDeadline(time.Now().Add(30 * time.Second))
		_, err := sockets[worker].Write(request)
		first := ""
		if err == nil {
			first, err = readMessage(readers[worker])
		}
		if err != nil {
			_ = sockets[worker].Close()
			sockets[worker] = nil
			return false
		}
		return strings.Contains(first, " 200 ")
	}
	for warm := 0; warm < connections*4; warm++ {
		once(warm % connections)
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
				if !once(worker) {
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
	quantile := func(share float64) float64 {
		if len(latencies) == 0 {
			return 0
		}
		return latencies[int(share*float64(len(latencies)-1))]
	}
	out, _ := json.Marshal(result{len(latencies), errors, float64(len(latencies)) / took, quantile(0.5), quantile(0.9), quantile(0.99), quantile(1)})
	fmt.Println(string(out))
}
