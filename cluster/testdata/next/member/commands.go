package main

import "malla/cluster/state"

// command is what the next version can propose.
func command(word, arg string) state.Command {
	u := user(arg)
	switch word {
	case "note":
		return state.AddNote{Name: arg}
	case "motto":
		u.Motto = "semper"
	}
	return u
}
