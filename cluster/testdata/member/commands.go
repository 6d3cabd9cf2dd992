package main

import "malla/cluster/state"

// command is what this version can propose.
func command(word, arg string) state.Command {
	if word != "user" {
		panic(word + " is not of this version")
	}
	return user(arg)
}
