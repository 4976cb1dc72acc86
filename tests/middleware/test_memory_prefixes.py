"""Families of keys: named by what they share, and by nothing that is somebody's."""

import random
import uuid

from middleware.memory_prefixes import MOST, REST, families


def by_prefix(draws, **kwargs):
    return {one.prefix: one for one in families(draws, **kwargs)}


def test_keys_are_told_apart_by_what_they_share():
    draws = [(b"alrea_cache:1:profile_pic:%032x" % number, 2_000) for number in range(60)]
    draws += [(b"alrea_cache:1:webhook:%d" % (10_000 + number), 500) for number in range(40)]

    found = by_prefix(draws, keys=1_000)

    assert list(found) == ["alrea_cache:1:profile_pic:*", "alrea_cache:1:webhook:*"]
    assert [one.keys for one in found.values()] == [600, 400]
    assert [one.size_bytes for one in found.values()] == [1_200_000, 200_000]


def test_words_that_nearly_every_key_has_of_its_own_are_one():
    words = random.Random(1).sample([f"{a}{b}" for a in "bcdfghjkl" for b in "aeiou"], 40)  # noqa: S311
    draws = [(f"session:{word}:data".encode(), 10) for word in words] + [(b"lock:nightly", 10)] * 5

    assert set(by_prefix(draws, keys=1_000)) == {"session:*:data", "lock:nightly"}


def test_no_number_address_or_id_of_a_person_is_shown():
    secrets = ["5511988887777", "maria@example.com", str(uuid.uuid4()), "5511988887777@s.whatsapp.net", "a1B2" * 8]
    draws = [(f"cache:{secret}".encode(), 100) for secret in secrets] + [(b"\xff\xfe\x00", 10)]

    shown = list(by_prefix(draws, keys=100))

    assert shown == ["cache:*", "*"]


def test_the_smallest_families_are_summed_up():
    draws = [(f"family{chr(97 + number)}:x".encode(), 1_000 - number) for number in range(MOST + 5)] * 6

    found = families(draws, keys=len(draws))

    assert [one.prefix for one in found][-1] == REST
    assert len(found) == MOST + 1
    assert sum(one.size_bytes for one in found) == sum(size for _, size in draws)


def test_all_keys_have_no_error_and_a_few_have_one():
    draws = [(b"a:%d" % number, 100 + number) for number in range(50)]

    assert families(draws, keys=50)[0].error == 0
    assert 0 < families(draws, keys=5_000)[0].error < 0.1
    assert families([], keys=10) == []


def test_a_family_that_was_met_seldom_says_how_little_is_known_of_it():
    draws = [(b"common:x", 100)] * 999 + [(b"rare:y", 100_000)]

    found = by_prefix(draws, keys=100_000)

    assert found["rare:y"].error > 1
    assert found["rare:y"].largest_bytes == 100_000
    assert found["common:x"].error < 0.01
