// Publishes to NATS JetStream one message at a time, each when the one before was acknowledged, and prints how long
// that took as JSON: quantiles in milliseconds.
//
//	nats URL CA CERTIFICATE KEY STREAM BYTES ROUNDS
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// Messages before the clock runs.
	warmUp   = 200
	patience = 60 * time.Second
)

type latencies struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

func main() {
	if len(os.Args) != 8 {
		fail(fmt.Errorf("usage: nats URL CA CERTIFICATE KEY STREAM BYTES ROUNDS"))
	}
	measured, err := measure(os.Args[1:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(measured)
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "nats:", err)
	os.Exit(1)
}

func measure(arguments []string) (latencies, error) {
	url, ca, certificate, key, name := arguments[0], arguments[1], arguments[2], arguments[3], arguments[4]
	size, err := strconv.Atoi(arguments[5])
	if err != nil {
		return latencies{}, err
	}
	rounds, err := strconv.Atoi(arguments[6])
	if err != nil || rounds < 1 {
		return latencies{}, fmt.Errorf("%s is not a number of rounds", arguments[6])
	}
	connection, err := nats.Connect(url, nats.RootCAs(ca), nats.ClientCert(certificate, key))
	if err != nil {
		return latencies{}, err
	}
	defer connection.Close()
	stream, err := jetstream.New(connection)
	if err != nil {
		return latencies{}, err
	}
	waiting, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err = stream.CreateStream(waiting, jetstream.StreamConfig{
		Name:     name,
		Subjects: []string{name},
		Storage:  jetstream.FileStorage,
		Replicas: 1,
	})
	if err != nil {
		return latencies{}, err
	}
	return publish(stream, name, make([]byte, size), rounds)
}

func publish(stream jetstream.JetStream, subject string, message []byte, rounds int) (latencies, error) {
	waiting, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	took := make([]time.Duration, 0, rounds)
	for round := range warmUp + rounds {
		begun := time.Now()
		if _, err := stream.Publish(waiting, subject, message); err != nil {
			return latencies{}, err
		}
		if round >= warmUp {
			took = append(took, time.Since(begun))
		}
	}
	slices.Sort(took)
	at := func(quantile float64) float64 {
		return float64(took[int(quantile*float64(len(took)-1))]) / float64(time.Millisecond)
	}
	return latencies{P50: at(0.5), P99: at(0.99)}, nil
}
