"""Every state and event has an answer: a step of the table, or an error that leaves the state as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl.x2go import AgentState, SessionState, Transition, X2GoStateError
from crl.x2go.state import TRANSITIONS, SessionEvent, SessionStateMachine

S, E = SessionState, SessionEvent
SEEN = {E.SEEN_RUNNING, E.SEEN_SUSPENDED, E.SEEN_GONE}


@given(st.lists(st.sampled_from(SessionEvent), max_size=30))
def test_events_in_any_order(events: list[SessionEvent]) -> None:
    machine = SessionStateMachine()
    for event in events:
        before = machine.state
        allowed = machine.allows(event)
        try:
            after = machine.apply(event)
        except X2GoStateError:
            assert not allowed
            assert machine.state is before
        else:
            assert allowed
            assert after is machine.state
            assert after is TRANSITIONS.get((before, event), before)


@given(st.lists(st.tuples(st.sampled_from(AgentState), st.booleans()), max_size=20), st.sampled_from(SessionState))
def test_what_is_seen_never_fails(seen: list[tuple[AgentState, bool]], state: SessionState) -> None:
    machine = SessionStateMachine()
    machine._state = state
    for agent, alive in seen:
        assert machine.observe(agent, alive=alive) is machine.state


def test_a_whole_life() -> None:
    steps: list[Transition] = []
    machine = SessionStateMachine(steps.append)
    for event in (E.START, E.DONE, E.SUSPEND, E.DONE, E.RESUME, E.DONE, E.TERMINATE, E.DONE):
        machine.apply(event)
    assert [step.after for step in steps] == [
        S.STARTING, S.RUNNING, S.SUSPENDING, S.SUSPENDED, S.RESUMING, S.RUNNING, S.TERMINATING, S.TERMINATED,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (S.VIRGIN, E.SUSPEND),
        (S.RUNNING, E.START),
        (S.SUSPENDED, E.SUSPEND),
        (S.TERMINATED, E.SUSPEND),
        (S.STARTING, E.START),
    ],
)
def test_what_makes_no_sense_is_refused(state: SessionState, event: SessionEvent) -> None:
    machine = SessionStateMachine()
    machine._state = state
    with pytest.raises(X2GoStateError, match=f"a session that is {state} cannot {event}"):
        machine.apply(event)


def test_a_dead_agent_is_an_end_whatever_its_file_says() -> None:
    machine = SessionStateMachine()
    machine.apply(E.START)
    machine.apply(E.DONE)
    assert machine.observe(AgentState.RUNNING, alive=False) is S.TERMINATED


def test_a_lost_proxy_is_a_suspension_and_another_client_a_resumption() -> None:
    machine = SessionStateMachine()
    machine.apply(E.START)
    machine.apply(E.DONE)
    assert machine.observe(AgentState.SUSPENDED, alive=True) is S.SUSPENDED
    assert machine.observe(AgentState.RUNNING, alive=True) is S.RUNNING


def test_no_step_leads_nowhere() -> None:
    reached = set(TRANSITIONS.values()) | {S.VIRGIN}
    left = {state for state, _ in TRANSITIONS}
    assert reached == set(SessionState) == left


@given(st.text(max_size=30))
def test_any_state_file_is_read(text: str) -> None:
    assert isinstance(AgentState.parse(text), AgentState)


@pytest.mark.parametrize("state", AgentState)
def test_known_states_are_read(state: AgentState) -> None:
    assert AgentState.parse(f"{state}\n") is state
