package server

import (
	"maps"
	"slices"
	"time"
)

// regionRoundTrips are typical round trips, in milliseconds, between data centres in parts of the world, as public
// clouds' networks have them: the great circle at two thirds of the speed of light, plus detours.
var regionRoundTrips = map[string]map[string]int{
	"us-east":      {"us-central": 32, "us-west": 65, "sa-east": 115, "eu-west": 80, "eu-central": 92, "eu-north": 110, "ap-south": 220, "ap-southeast": 225, "ap-northeast": 155, "au-east": 200},
	"us-central":   {"us-west": 36, "sa-east": 145, "eu-west": 95, "eu-central": 110, "eu-north": 125, "ap-south": 230, "ap-southeast": 195, "ap-northeast": 130, "au-east": 175},
	"us-west":      {"sa-east": 175, "eu-west": 125, "eu-central": 145, "eu-north": 155, "ap-south": 220, "ap-southeast": 165, "ap-northeast": 100, "au-east": 140},
	"sa-east":      {"eu-west": 180, "eu-central": 205, "eu-north": 220, "ap-south": 300, "ap-southeast": 325, "ap-northeast": 255, "au-east": 310},
	"eu-west":      {"eu-central": 25, "eu-north": 40, "ap-south": 150, "ap-southeast": 175, "ap-northeast": 205, "au-east": 255},
	"eu-central":   {"eu-north": 22, "ap-south": 115, "ap-southeast": 160, "ap-northeast": 225, "au-east": 250},
	"eu-north":     {"ap-south": 140, "ap-southeast": 180, "ap-northeast": 245, "au-east": 275},
	"ap-south":     {"ap-southeast": 60, "ap-northeast": 125, "au-east": 150},
	"ap-southeast": {"ap-northeast": 70, "au-east": 92},
	"ap-northeast": {"au-east": 105},
	"au-east":      {},
}

// KnownRegions lists the regions whose distances the latency "world" knows.
func KnownRegions() []string { return slices.Sorted(maps.Keys(regionRoundTrips)) }

// worldLatency is the latency "world".
func worldLatency() Latency {
	l := Latency{pairs: map[[2]string]time.Duration{}}
	for a, to := range regionRoundTrips {
		for b, ms := range to {
			l.pairs[pairOf(a, b)] = time.Duration(ms) * time.Millisecond
		}
	}
	return l
}
