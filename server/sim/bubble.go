package sim

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// Bubbles lets f run lives in a program that is no test, and ends the process with what f returns. Virtual time is
// to be had inside of tests only, so the process turns itself into one. The function that f gets may be called
// by several goroutines at once: each life has a bubble of its own.
func Bubbles(f func(live func(Life) (Result, error)) (status int)) {
	os.Args = os.Args[:1]
	testing.Init()
	var n atomic.Int64
	test := func(t *testing.T) {
		os.Exit(f(func(l Life) (res Result, err error) {
			t.Run(fmt.Sprint(n.Add(1)), func(t *testing.T) {
				synctest.Test(t, func(*testing.T) { res, err = l.Run() })
			})
			return res, err
		}))
	}
	testing.Main(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "sim", F: test}}, nil, nil)
}
