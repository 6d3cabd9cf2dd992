//go:build race

package blobs_test

const raceEnabled = true // everything takes about ten times as long
