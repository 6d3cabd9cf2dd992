package worker

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"malla/cluster/state"
)

func TestALaneIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(1)
		var order []state.TaskID
		leaves := make(chan func(), 8)
		come := func(id string, owner state.UserID, p state.Priority) {
			go func() {
				leave, err := l.enter(t.Context(), state.Task{ID: state.TaskID(id), Kind: state.Convert, Owner: owner, Priority: p, Cost: 1})
				if err != nil {
					t.Error(err)
					return
				}
				order = append(order, state.TaskID(id))
				leaves <- leave
			}()
			synctest.Wait()
		}
		come("films1", "ana", state.Normal)
		come("films2", "ana", state.Normal)
		come("low", "eva", state.Low)
		come("song", "bob", state.Normal)
		come("high", "ana", state.High)
		for range 5 {
			leave := <-leaves
			leave()
			synctest.Wait()
		}
		if got := fmt.Sprint(order); got != "[films1 high films2 song low]" {
			t.Errorf("order: %s", got)
		}
	})
}

func TestAUserWithMuchUnderWayWaitsForTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(2)
		quick := func(owner state.UserID) state.Task { return state.Task{Kind: state.Convert, Owner: owner, Cost: 1} }
		first, _ := l.enter(t.Context(), quick("ana"))
		l.enter(t.Context(), quick("ana"))
		var begun []state.UserID
		for _, owner := range []state.UserID{"ana", "bob"} {
			go func() {
				if _, err := l.enter(t.Context(), quick(owner)); err == nil {
					begun = append(begun, owner)
				}
			}()
			synctest.Wait()
		}
		first()
		synctest.Wait()
		if fmt.Sprint(begun) != "[bob]" {
			t.Errorf("began: %v", begun)
		}
	})
}

func TestWhoGivesUpLeavesNoHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(1)
		long := state.Task{Kind: state.Segment}
		leave, err := l.enter(t.Context(), long)
		if err != nil {
			t.Fatal(err)
		}
		if other, err := l.enter(t.Context(), state.Task{Kind: state.Convert, Cost: 1}); err != nil {
			t.Fatal(err)
		} else {
			other()
		}
		ctx, cancel := context.WithCancel(t.Context())
		go l.enter(ctx, long)
		synctest.Wait()
		cancel()
		synctest.Wait()
		leave()
		again, err := l.enter(t.Context(), long)
		if err != nil {
			t.Fatal(err)
		}
		again()
	})
}
