//go:build race

package cluster

const raceEnabled = true // everything takes about ten times as long
