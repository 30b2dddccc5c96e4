// A worker process of River: it fills its queue, then drains it, and prints how many seconds that took.
//
// With the settings of River's own benchmark: it fetches every 2 ms and completes in batches.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

const chunk = 10_000

type load struct {
	URL         string `json:"url"`
	Tasks       int    `json:"tasks"`
	Connections int32  `json:"connections"`
	AtOnce      int    `json:"at_once"`
}

type noop struct{}

func (noop) Kind() string { return "noop" }

type worker struct {
	river.WorkerDefaults[noop]
	done *atomic.Int64
}

func (w *worker) Work(context.Context, *river.Job[noop]) error {
	w.done.Add(1)
	return nil
}

func main() {
	var given load
	if err := json.Unmarshal([]byte(os.Args[1]), &given); err != nil {
		log.Fatal(err)
	}
	seconds, err := drain(context.Background(), given)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("{\"seconds\": %f}\n", seconds)
}

func drain(ctx context.Context, given load) (float64, error) {
	settings, err := pgxpool.ParseConfig(given.URL)
	if err != nil {
		return 0, err
	}
	settings.MaxConns = given.Connections
	pool, err := pgxpool.NewWithConfig(ctx, settings)
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	driver := riverpgxv5.New(pool)
	migrator, err := rivermigrate.New(driver, nil)
	if err != nil {
		return 0, err
	}
	if _, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return 0, err
	}
	var done atomic.Int64
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{done: &done})
	client, err := river.NewClient(driver, &river.Config{
		FetchCooldown:     2 * time.Millisecond,
		FetchPollInterval: 20 * time.Millisecond,
		Logger:            slog.New(slog.NewTextHandler(io.Discard, nil)),
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: given.AtOnce}},
		Workers:           workers,
	})
	if err != nil {
		return 0, err
	}
	for left := given.Tasks; left > 0; left -= chunk {
		if _, err = client.InsertManyFast(ctx, make_(min(left, chunk))); err != nil {
			return 0, err
		}
	}
	if _, err = pool.Exec(ctx, "VACUUM ANALYZE"); err != nil {
		return 0, err
	}
	began := time.Now()
	if err = client.Start(ctx); err != nil {
		return 0, err
	}
	for done.Load() < int64(given.Tasks) {
		time.Sleep(time.Millisecond)
	}
	for left := -1; left != 0; {
		const open = "SELECT count(*) FROM river_job WHERE state <> 'completed'"
		if err = pool.QueryRow(ctx, open).Scan(&left); err != nil {
			return 0, err
		}
	}
	seconds := time.Since(began).Seconds()
	return seconds, client.Stop(ctx)
}

func make_(count int) []river.InsertManyParams {
	made := make([]river.InsertManyParams, count)
	for place := range made {
		made[place] = river.InsertManyParams{Args: noop{}}
	}
	return made
}
