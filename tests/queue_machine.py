"""The scripts and a plain model of them, step by step, through whatever order of calls hypothesis finds.

``test_model.py`` runs it; what else is said of any state of a queue is tried on what it leaves.
"""

from typing import Any

import hypothesis.strategies as st
from carrier_world import LONG_MS, QUEUE, REMAINS, drain_once, existing
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from queue_checks import check_against, check_alone, check_stats
from queue_ends import ENDS, GROUPS, KINDS, End, routing
from queue_look import Look, look
from queue_model import QueueModel
from queue_places import Kind, ModelGate

from middleware.brokers.redis.keys import Keys
from middleware.brokers.redis.transitions import Settlement, Transitions
from middleware.brokers.redis.values import Fetch, GateChange, Lease, NewMessage
from middleware.outcomes import Dead, Done, PutBack, Retry

MAX_CRASHES = 1
KEYS = Keys("test:model")
PICK = st.integers(0, 11)
OWNERS = st.sampled_from(["w1", "w2"])
FETCHERS = st.sampled_from(["w1", "w2", "w1+", "w2+"])


class CarrierMachine(RuleBasedStateMachine):
    """Every rule does one thing to both; the invariants compare them after each."""

    def __init__(self, moves: Transitions) -> None:
        super().__init__()
        self.moves, self.client = moves, moves.scripts.client
        self.client.flushdb()
        self.model = QueueModel(MAX_CRASHES)
        self.number = self.expiry = 0
        self.leases: dict[str, Lease] = {}
        self.lost: list[Lease] = []
        self.before: Look = look(self.client, KEYS, QUEUE)

    def key(self, name: str) -> str:
        return KEYS.of(QUEUE, name)

    def one_of(self, ids: Any, pick: int) -> str:
        return str(sorted(ids)[pick % len(ids)])

    def new_message(self, kind: Kind, *, is_delayed: bool) -> NewMessage:
        self.number += 1
        id_ = f"m{self.number:03}"
        return NewMessage(id_, f"body of {id_}".encode(), LONG_MS if is_delayed else 0, routing(kind))

    def lose_leases(self) -> None:
        """Leases of what does not run any more are somebody's who was robbed."""
        for id_ in [id_ for id_ in self.leases if id_ not in self.model.running]:
            self.lost.append(self.leases.pop(id_))

    # -- putting in and taking out --------------------------------------------------------------------------------

    @initialize(
        kinds=st.lists(st.tuples(KINDS, st.just(False)), min_size=3, max_size=8), limit=st.sampled_from([None, 1, 2])
    )
    def begin(self, kinds: list[tuple[Kind, bool]], limit: int | None) -> None:
        self.gate("g", limit, None)
        self.enqueue(kinds)

    @rule(kinds=st.lists(st.tuples(KINDS, st.sampled_from([False, False, False, True])), min_size=1, max_size=4))
    def enqueue(self, kinds: list[tuple[Kind, bool]]) -> None:
        batch = [self.new_message(kind, is_delayed=is_delayed) for kind, is_delayed in kinds]
        for new, said, (kind, is_delayed) in zip(batch, self.moves.enqueue_many(QUEUE, batch), kinds, strict=True):
            outcome = self.model.enqueue(new.id, kind, is_delayed=is_delayed)
            assert (said.state, said.id) == (("new", new.id) if outcome == "new" else ("duplicate", outcome))

    @precondition(lambda self: self.model.live or self.model.ended)
    @rule(pick=PICK)
    def enqueue_again(self, pick: int) -> None:
        """The reply of an enqueue was lost."""
        id_ = self.one_of(self.model.live | self.model.ended, pick)
        fields = (id_, b"", 0, routing(self.model.kinds[id_]).text(), 0, "", 0)
        reply = self.moves.scripts.run("enqueue", QUEUE, 1, *fields, doing="", more_keys=(KEYS.ticks,))
        assert reply == [[b"known", id_.encode()]]

    @rule(limit=st.integers(1, 5), owner=OWNERS)
    def fetch(self, limit: int, owner: str) -> None:
        self.handed_out(self.moves.fetch(QUEUE, limit=limit, lease_ms=LONG_MS, owner=owner), self.model.fetch(limit))

    @rule(owner=OWNERS)
    def fetch_first(self, owner: str) -> None:
        """What a worker sends with its wait: never more than one, and nothing that is only due."""
        came = self.moves.fetch_first(["empty", QUEUE], lease_ms=LONG_MS, owner=f"{owner}+")
        expected = self.model.fetch(1, promotes=False)
        assert (came is not None) == bool(expected)
        if came is not None:
            assert came[0] == QUEUE
            self.handed_out(came[1], expected)

    def handed_out(self, fetch: Fetch, expected: list[str]) -> None:
        assert [one.lease.id for one in fetch.messages] == expected
        for one in fetch.messages:
            assert one.deliveries == self.model.crashes.get(one.lease.id, 0) + 1
            assert one.routing == routing(self.model.kinds[one.lease.id])
            self.leases[one.lease.id] = one.lease

    # -- outcomes -------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.model.running)
    @rule(pick=PICK, end=ENDS.filter(lambda end: end.name not in ("runs on", "crashes")))
    def finish(self, pick: int, end: End) -> None:
        id_ = self.one_of(self.model.running, pick)
        lease, is_plain = self.leases.pop(id_), self.model.kinds[id_].is_plain
        call = self.moves.finish_call(QUEUE, [Settlement(lease, end.outcome(), b"last", is_plain=is_plain)])
        assert self.moves.scripts.replies([call]) == [[1]]
        if end.name == "done":
            self.model.finish_done(id_)
        elif end.name == "dead":
            self.model.finish_dead(id_)
        else:
            self.model.come_again(
                id_, is_delayed=end.is_delayed, yields=end.name == "yield", holds_group_off=end.holds_group_off
            )

    @rule(
        rounds=st.lists(
            st.tuples(st.integers(1, 4), OWNERS, st.lists(ENDS, min_size=1, max_size=3)), min_size=1, max_size=3
        )
    )
    def work(self, rounds: list[tuple[int, str, list[End]]]) -> None:
        """Most of what a queue sees, so most of what is tried."""
        for limit, owner, ends in rounds:
            self.fetch(limit, owner)
            self.redis_is_as_the_model_and_whole()
            for number, end in enumerate(ends):
                if self.model.running and end.name == "crashes":
                    self.a_lease_runs_out(number)
                    self.tend()
                elif self.model.running and end.name != "runs on":
                    self.finish(number, end)
                self.redis_is_as_the_model_and_whole()

    @precondition(lambda self: self.lost)
    @rule(pick=PICK, outcome=st.sampled_from([Done(), Retry(0, "x"), PutBack(0, "x", yields=True), Dead("x")]))
    def a_robbed_worker_ends(self, pick: int, outcome: Any) -> None:
        lease = self.lost[pick % len(self.lost)]
        assert not self.moves.finish(lease, outcome, body=b"robbed")
        assert self.moves.renew(QUEUE, [lease], lease_ms=LONG_MS) == {lease.id}
        assert self.moves.release(QUEUE, [lease], started=True) == 0

    @precondition(lambda self: self.model.running)
    @rule(pick=PICK, count=st.integers(1, 3), started=st.booleans())
    def release(self, pick: int, count: int, started: bool) -> None:
        ids = sorted(self.model.running)[pick % len(self.model.running) :][:count]
        assert self.moves.release(QUEUE, [self.leases[id_] for id_ in ids], started=started) == len(ids)
        self.model.give_back(ids, started=started)
        self.lose_leases()

    @precondition(lambda self: self.model.running)
    @rule(owner=FETCHERS, keeps=st.integers(0, 2))
    def a_reply_of_a_fetch_is_lost(self, owner: str, keeps: int) -> None:
        in_order = [Lease(QUEUE, id_, token) for id_, token in look(self.client, KEYS, QUEUE).leases.items()]
        theirs = [lease for lease in in_order if lease.fetcher == owner]
        assert self.moves.disown(QUEUE, owner=owner, in_hand=theirs[:keeps]) == len(theirs[keeps:])
        self.model.give_back([lease.id for lease in theirs[keeps:]], started=False)
        self.lose_leases()

    # -- time -----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.model.running)
    @rule(pick=PICK)
    def a_lease_runs_out(self, pick: int) -> None:
        id_ = self.one_of(self.model.running, pick)
        self.expiry += 1
        lease = self.leases[id_]
        assert self.client.zadd(self.key("leases"), {f"{id_}\0{lease.token}": self.expiry}, xx=True, ch=True) == 1
        self.model.expired = [*(one for one in self.model.expired if one != id_), id_]

    @precondition(lambda self: self.model.expired)
    @rule(pick=PICK)
    def renew(self, pick: int) -> None:
        id_ = self.one_of(self.model.expired, pick)
        assert self.moves.renew(QUEUE, [self.leases[id_]], lease_ms=LONG_MS) == set()
        self.model.expired.remove(id_)

    @precondition(lambda self: self.model.expired or self.model.due or any(self.model.group_due.values()))
    @rule()
    def tend(self) -> None:
        dead, expired = set(self.model.dead), list(self.model.expired)
        tended = self.moves.tend([QUEUE], max_deliveries=MAX_CRASHES)[0]
        self.model.tend()
        buried = len(set(self.model.dead) - dead)
        assert (tended.reclaimed, tended.buried) == (len(expired) - buried, buried)
        self.lose_leases()

    @precondition(lambda self: self.model.delayed)
    @rule(pick=PICK)
    def a_delay_ends(self, pick: int) -> None:
        id_ = self.one_of(self.model.delayed, pick)
        self.client.zadd(self.key("delayed"), {id_: 1})
        self.model.due.add(id_)

    @precondition(lambda self: any(gate.is_early for gate in self.model.gates.values()))
    @rule(pick=PICK)
    def the_time_of_a_gate_comes(self, pick: int) -> None:
        group = self.one_of({name for name, gate in self.model.gates.items() if gate.is_early}, pick)
        limit, _, *rest = self.client.hget(self.key("gates"), group).decode().split()
        self.client.hset(self.key("gates"), group, " ".join([limit, "1", *rest]))
        self.client.zadd(self.key("group_due"), {group: 1}, xx=True)
        self.model.gates[group].is_early = False
        if group in self.model.group_due:
            self.model.group_due[group] = True

    # -- operators ------------------------------------------------------------------------------------------------

    @rule(
        what=st.sampled_from(["gate", "gate", "gate", "cancel", "cancel", "pause", "purge"]), pick=PICK, data=st.data()
    )
    def interfere(self, what: str, pick: int, data: st.DataObject) -> None:
        """One rule for all: each of its own would be tried as often as all work."""
        if what == "gate":
            group, limit = data.draw(st.sampled_from(GROUPS)), data.draw(st.sampled_from([None, -1, 0, 1, 1, 2]))
            self.gate(group, limit, data.draw(st.sampled_from([None, None, False, True])))
        elif what == "cancel":
            id_ = self.one_of(self.model.live or self.model.kinds or {"ghost"}, pick)
            assert self.moves.cancel(QUEUE, id_) == self.model.cancel(id_)
        elif what == "pause":
            self.pause(not self.model.is_paused and pick % 2 == 0)
        elif pick < 3:
            assert self.moves.purge(QUEUE) == len(self.model.live)
            self.model.purge()
            self.lose_leases()

    def pause(self, is_paused: bool) -> None:
        changed = self.moves.pause(QUEUE) if is_paused else self.moves.resume(QUEUE)
        assert changed == (is_paused != self.model.is_paused)
        self.model.is_paused = is_paused

    def gate(self, group: str, limit: int | None, paused: bool | None) -> None:
        self.moves.set_gate(QUEUE, group, GateChange(limit=limit, paused=paused))

        def change(gate: ModelGate) -> None:
            gate.limit = gate.limit if limit is None else limit
            gate.is_paused = gate.is_paused if paused is None else paused

        self.model.set_gate(group, change)

    @precondition(lambda self: self.model.dead)
    @rule(pick=PICK)
    def announced(self, pick: int) -> None:
        id_ = self.one_of(self.model.dead, pick)
        assert self.moves.announced(QUEUE, [id_]) == (id_ in self.model.unannounced)
        self.model.unannounced.discard(id_)
        self.model.free_key(id_)

    @precondition(lambda self: self.model.dead)
    @rule(pick=PICK)
    def redrive(self, pick: int) -> None:
        id_ = self.one_of(self.model.dead, pick)
        assert self.moves.redrive(QUEUE, id_, body=b"fresh") == self.model.redrive(id_)

    @precondition(lambda self: self.model.dead)
    @rule(pick=PICK)
    def discard(self, pick: int) -> None:
        id_ = self.one_of(self.model.dead, pick)
        assert self.moves.discard(QUEUE, [id_, "nobody"]) == 1
        self.model.discard(id_)

    # -- what holds after every step ------------------------------------------------------------------------------

    @invariant()
    def redis_is_as_the_model_and_whole(self) -> None:
        now = look(self.client, KEYS, QUEUE)
        check_against(self.model, now)
        check_alone(self.before, now)
        check_stats(self.model, self.moves.stats([QUEUE])[0])
        self.client.delete(self.key("wake"))
        self.before = now

    def teardown(self) -> None:
        """Whatever happened, the queue can be drained, and then nothing of the messages is left."""
        self.pause(False)
        for group in GROUPS:
            self.moves.set_gate(QUEUE, group, GateChange(limit=-1, next_in_ms=0, paused=False))
        while drain_once(self.moves, max_deliveries=MAX_CRASHES):
            pass
        assert existing(self.client, KEYS) <= REMAINS
