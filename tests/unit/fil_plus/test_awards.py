import base64
import copy

import pytest

from fil_plus.awards import Award, AwardError, parse_awards
from lotus_client import cbor
from lotus_client.address import Address
from lotus_client.types import ActorId, AttoFil, Epoch


def b64(value):
    return base64.b64encode(cbor.encode(value)).decode()


def call(sender, to, value, method, *, exit_code=0, params=None, subcalls=None):
    return {
        "Msg": {"From": sender, "To": to, "Value": str(value), "Method": method, "Params": params},
        "MsgRct": {"ExitCode": exit_code, "Return": None, "ReturnCodec": 0},
        "Subcalls": subcalls,
    }


def award_element(miner=1000, *, gas=12345, penalty=0, wins=1, subcalls=None, exit_code=0):
    params = b64(
        [
            Address.of_id(miner).to_bytes(),
            cbor.encode_bigint(penalty),
            cbor.encode_bigint(gas),
            wins,
        ]
    )
    receipt = {"ExitCode": exit_code, "Return": None, "GasUsed": 1, "EventsRoot": None}
    message = {"From": "f00", "To": "f02", "Nonce": 1234, "Value": "0", "Method": 2}
    return {
        "Msg": message | {"Params": params},
        "MsgRct": receipt,
        "ExecutionTrace": call("f00", "f02", 0, 2, params=params, subcalls=subcalls),
    }


def apply_rewards(value, *, exit_code=0, burnt=0, miner="f01000"):
    inner = [call(miner, "f04", 0, 6)]
    if burnt:
        inner.append(call(miner, "f099", burnt, 0))
    return call("f02", miner, value, 14, exit_code=exit_code, subcalls=inner)


CRON = {
    "Msg": {"From": "f00", "To": "f03", "Nonce": 1234, "Value": "0", "Method": 2, "Params": None},
    "MsgRct": {"ExitCode": 0},
    "ExecutionTrace": {},
}


def test_params_are_those_of_the_published_example():
    assert base64.b64decode("hEMA6AdAQwAwOQE=") == base64.b64decode(
        award_element()["Msg"]["Params"]
    )


def test_credited_is_the_value_that_entered_the_miner_actor():
    trace = {"Trace": [award_element(subcalls=[apply_rewards(11 * 10**18 + 12345)]), CRON]}
    assert parse_awards(trace, ActorId(1000)) == [
        Award(
            Epoch(1234),
            ActorId(1000),
            AttoFil(11 * 10**18 + 12345),
            AttoFil(12345),
            AttoFil(0),
            AttoFil(0),
            1,
        )
    ]


def test_test_network_addresses_are_read_too():
    element = award_element(subcalls=[apply_rewards(7, miner="t01000")])
    element["Msg"] |= {"From": "t00", "To": "t02"}
    element["ExecutionTrace"]["Subcalls"][0]["Msg"]["From"] = "t02"
    assert parse_awards({"Trace": [element]}, ActorId(1000))[0].credited == AttoFil(7)


def test_penalties_and_debt_burnt_inside_the_actor_are_shown_and_not_taken_off():
    element = award_element(penalty=5, subcalls=[apply_rewards(100, burnt=15)])
    award = parse_awards({"Trace": [element]}, ActorId(1000))[0]
    assert (award.credited, award.penalty, award.burnt) == (AttoFil(100), AttoFil(15), AttoFil(15))


def test_an_award_the_actor_refused_was_burnt_and_credits_nothing():
    element = award_element(
        subcalls=[apply_rewards(100, exit_code=16, burnt=3), call("f02", "f099", 100, 0)]
    )
    award = parse_awards({"Trace": [element]}, ActorId(1000))[0]
    assert (award.credited, award.burnt) == (AttoFil(0), AttoFil(100))


def test_a_burn_beside_a_good_award_is_not_the_miners():
    element = award_element(subcalls=[call("f02", "f099", 40, 0), apply_rewards(60)])
    award = parse_awards({"Trace": [element]}, ActorId(1000))[0]
    assert (award.credited, award.burnt) == (AttoFil(60), AttoFil(0))


def test_a_failed_award_message_moved_nothing():
    element = award_element(exit_code=7, subcalls=[apply_rewards(100)])
    assert parse_awards({"Trace": [element]}, ActorId(1000))[0].credited == AttoFil(0)


def test_two_blocks_are_two_awards_and_others_are_left_out():
    trace = {
        "Trace": [
            award_element(subcalls=[apply_rewards(1)]),
            award_element(miner=1001, subcalls=[apply_rewards(5, miner="f01001")]),
            award_element(wins=2, subcalls=[apply_rewards(2)]),
        ]
    }
    assert [award.win_count for award in parse_awards(trace, ActorId(1000))] == [1, 2]
    assert parse_awards({"Trace": None}, ActorId(1000)) == []


def broken(change):
    element = copy.deepcopy(award_element(subcalls=[apply_rewards(1)]))
    change(element)
    return {"Trace": [element]}


@pytest.mark.parametrize(
    ("trace", "path"),
    [
        ({"Trace": {}}, "Trace"),
        ({"Trace": [7]}, "Trace[0].Msg"),
        (broken(lambda e: e["Msg"].update(Params="!")), "Trace[0].Msg.Params"),
        (broken(lambda e: e["Msg"].update(Params=b64([1, 2]))), "Trace[0].Msg.Params"),
        (broken(lambda e: e["Msg"].update(To=None)), "Trace[0].Msg"),
        (broken(lambda e: e["Msg"].update(Nonce="9")), "Trace[0].Msg.Nonce"),
        (broken(lambda e: e.pop("ExecutionTrace")), "Trace[0].ExecutionTrace"),
        (
            broken(lambda e: e["ExecutionTrace"]["Subcalls"][0]["Msg"].update(Value="1.5")),
            "Trace[0].ExecutionTrace.Subcalls[0].Msg.Value",
        ),
        (
            broken(lambda e: e["ExecutionTrace"].update(Subcalls=[1])),
            "Trace[0].ExecutionTrace.Subcalls[0]",
        ),
    ],
)
def test_an_answer_of_another_shape_is_refused_and_says_where(trace, path):
    with pytest.raises(AwardError) as caught:
        parse_awards(trace, ActorId(1000))
    assert caught.value.path == path
