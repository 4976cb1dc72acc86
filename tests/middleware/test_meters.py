"""Counts of many processes become one, and no label grows with what comes from outside."""

from middleware.meters import ALL, ATTEMPTS, DURATION, GROUPS, MAX_VALUES, OTHER, Meters, families


def test_what_two_processes_counted_is_their_sum():
    first, second, total = Meters(), Meters(), Meters()
    for meters, times in ((first, 2), (second, 3)):
        for _ in range(times):
            meters.count(ATTEMPTS, "work", "step", "done")
            meters.observe(DURATION, "step", seconds=0.3)

    total.add(first.snapshot())
    total.add(second.snapshot())

    assert total.snapshot()[ATTEMPTS.name] == [[["work", "step", "done"], [5.0]]]
    [[_, buckets]] = total.snapshot()[DURATION.name]
    assert (sum(buckets[:-1]), round(buckets[-1], 3)) == (5, 1.5)


def test_a_duration_falls_into_the_bucket_that_ends_with_it_and_one_beyond_all_into_the_last():
    meters = Meters()
    for seconds in (DURATION.bounds[0], DURATION.bounds[-1] + 1):
        meters.observe(DURATION, "step", seconds=seconds)

    [[_, numbers]] = meters.snapshot()[DURATION.name]
    assert (numbers[0], numbers[-2], sum(numbers[:-1])) == (1, 1, 2)


def test_names_beyond_the_cap_are_counted_together():
    meters = Meters()
    for number in range(MAX_VALUES + 50):
        meters.count(GROUPS, f"line-{number}", "done")

    rows = {values[0]: count for values, [count] in meters.snapshot()[GROUPS.name]}
    assert len(rows) == MAX_VALUES + 1
    assert rows[OTHER] == 50


def test_a_name_that_was_shown_stays_whoever_is_added_first():
    seen: dict[str, set[str]] = {}
    early, late, crowd = Meters(seen), Meters(seen), Meters()
    early.count(GROUPS, "mine", "done")
    for number in range(2 * MAX_VALUES):
        crowd.count(GROUPS, f"line-{number}", "done")

    late.add(crowd.snapshot())
    late.count(GROUPS, "mine", "done")

    assert [["mine", "done"], [1.0]] in late.snapshot()[GROUPS.name]


def test_what_is_not_known_here_is_left_out():
    meters = Meters()

    meters.add({"of_a_newer_version_total": [[["x"], [1.0]]], DURATION.name: [[["step"], [1.0]]]})

    assert meters.snapshot().get("of_a_newer_version_total") is None
    assert meters.snapshot()[DURATION.name] == [[["step"], [0.0] * (len(DURATION.bounds) + 2)]]


def test_no_label_is_one_that_a_scraper_writes_itself_or_that_grows_with_the_traffic():
    labels = {label for meter in ALL for label in meter.labels}

    assert labels == {"queue", "actor", "outcome", "code", "chat_instance"}
    assert [family.name for family in families({})] == [meter.name for meter in ALL]
