// SPDX-License-Identifier: Apache-2.0

// Load is the closed-loop client of the peers that are measured beside the ledger: immudb over gRPC, Tessera over HTTP.
//
// It keeps a fixed number of requests in flight for a time and prints one JSON object. Payloads are random bytes, made
// before a request is timed. Not here: starting and ending the peers.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/codenotary/immudb/pkg/api/schema"
	immudb "github.com/codenotary/immudb/pkg/client"
)

const database = "bench"

// sender does one request and says when it is answered.
type sender func(ctx context.Context, payloads [][]byte) error

var (
	peer     = flag.String("peer", "", "immudb-set, immudb-verified or tessera")
	port     = flag.Int("port", 0, "port of the peer on 127.0.0.1")
	batch    = flag.Int("batch", 1, "entries a request")
	inFlight = flag.Int("in-flight", 1, "requests under way at once")
	seconds  = flag.Float64("seconds", 10, "measured seconds")
	warmUp   = flag.Float64("warm-up", 3, "seconds before the clock starts")
	size     = flag.Int("bytes", 700, "bytes of a payload")
	scratch  = flag.String("scratch", "", "an empty folder for what a client keeps")
	entries  = flag.Int("entries", 0, "stop after this many entries; 0: only the time counts")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	connections := *inFlight
	if *peer == "tessera" {
		connections = 1 // one pool of kept connections
	}
	if *peer != "tessera" {
		if err := createDatabase(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "load:", err)
			os.Exit(1)
		}
	}
	senders := make([]sender, 0, connections)
	for number := 0; number < connections; number++ {
		made, err := connect(ctx, number)
		if err != nil {
			fmt.Fprintln(os.Stderr, "load:", err)
			os.Exit(1)
		}
		senders = append(senders, made)
	}
	run(ctx, senders, *warmUp)
	var before syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	started := time.Now()
	took, failed, reason := run(ctx, senders, *seconds)
	elapsed := time.Since(started).Seconds()
	var after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	report(took, failed, reason, elapsed, cpu(after)-cpu(before))
}

// run keeps every sender busy and returns the latency of each answered request in seconds, unsorted.
func run(ctx context.Context, senders []sender, limit float64) ([]float64, int64, string) {
	var (
		wait   sync.WaitGroup
		lock   sync.Mutex
		all    []float64
		failed atomic.Int64
		sent   atomic.Int64
		reason string
	)
	until := time.Now().Add(time.Duration(limit * float64(time.Second)))
	for number := 0; number < *inFlight; number++ {
		send := senders[number%len(senders)]
		wait.Add(1)
		go func() {
			defer wait.Done()
			var own []float64
			for ctx.Err() == nil && time.Now().Before(until) {
				if *entries > 0 && sent.Add(int64(*batch)) > int64(*entries) {
					break
				}
				payloads := make([][]byte, *batch)
				for i := range payloads {
					payloads[i] = make([]byte, *size)
					_, _ = rand.Read(payloads[i])
				}
				asked := time.Now()
				if err := send(ctx, payloads); err != nil {
					failed.Add(1)
					lock.Lock()
					reason = err.Error()
					lock.Unlock()
					time.Sleep(10 * time.Millisecond)
					continue
				}
				own = append(own, time.Since(asked).Seconds())
			}
			lock.Lock()
			all = append(all, own...)
			lock.Unlock()
		}()
	}
	wait.Wait()
	return all, failed.Load(), reason
}

func connect(ctx context.Context, number int) (sender, error) {
	switch *peer {
	case "tessera":
		return tessera(), nil
	case "immudb-set", "immudb-verified":
		return immudbSender(ctx, number)
	}
	return nil, fmt.Errorf("no peer %q", *peer)
}

// createDatabase makes a database that takes all our requests at once: the default one refuses more than 30 commits.
func createDatabase(ctx context.Context) error {
	client, err := session(ctx, "creator", "defaultdb")
	if err != nil {
		return err
	}
	defer func() { _ = client.CloseSession(ctx) }()
	_, err = client.CreateDatabaseV2(ctx, database, &schema.DatabaseNullableSettings{
		MaxConcurrency: &schema.NullableUint32{Value: uint32(max(30, 2**inFlight))},
	})
	return err
}

func session(ctx context.Context, name, database string) (immudb.ImmuClient, error) {
	folder := filepath.Join(*scratch, name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	options := immudb.DefaultOptions().WithAddress("127.0.0.1").WithPort(*port).WithDir(folder).
		WithMaxRecvMsgSize(64 << 20)
	client := immudb.NewClient().WithOptions(options)
	return client, client.OpenSession(ctx, []byte("immudb"), []byte("immudb"), database)
}

// immudbSender opens one session: immudb counts them, and its client serialises what needs the local state.
func immudbSender(ctx context.Context, number int) (sender, error) {
	client, err := session(ctx, strconv.Itoa(number), database)
	if err != nil {
		return nil, err
	}
	if *peer == "immudb-verified" {
		return func(ctx context.Context, payloads [][]byte) error {
			_, err := client.VerifiedSet(ctx, payloads[0][:16], payloads[0])
			return err
		}, nil
	}
	return func(ctx context.Context, payloads [][]byte) error {
		if len(payloads) == 1 {
			_, err := client.Set(ctx, payloads[0][:16], payloads[0])
			return err
		}
		request := &schema.SetRequest{KVs: make([]*schema.KeyValue, len(payloads))}
		for i, payload := range payloads {
			// Keys of one transaction must differ; 16 random bytes and the place do.
			key := binary.BigEndian.AppendUint16(bytes.Clone(payload[:16]), uint16(i))
			request.KVs[i] = &schema.KeyValue{Key: key, Value: payload}
		}
		_, err := client.SetAll(ctx, request)
		return err
	}, nil
}

func tessera() sender {
	client := &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: *inFlight,
		MaxConnsPerHost:     *inFlight,
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
	}}
	url := "http://127.0.0.1:" + strconv.Itoa(*port) + "/add"
	return func(ctx context.Context, payloads [][]byte) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(payloads[0]))
		if err != nil {
			return err
		}
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			return err
		}
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d: %.200s", answer.StatusCode, text)
		}
		return nil
	}
}

func cpu(usage syscall.Rusage) float64 {
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

func report(took []float64, failed int64, reason string, elapsed, clientCPU float64) {
	sort.Float64s(took)
	at := func(percent int) float64 {
		if len(took) == 0 {
			return 0
		}
		return took[min(len(took)-1, len(took)*percent/100)] * 1000
	}
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{
		"entries":      len(took) * *batch,
		"seconds":      elapsed,
		"p50_ms":       at(50),
		"p95_ms":       at(95),
		"p99_ms":       at(99),
		"failed":       failed,
		"reason":       reason,
		"client_cpu_s": clientCPU,
	})
}
