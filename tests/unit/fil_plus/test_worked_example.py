"""The worked example of the project's economics notes: 32 GiB sectors, a 16 GiB claim, a 100 PiB miner."""

from fil_plus.power import EXTRA_MULTIPLIER, quality, sector_qap, verified_space
from fil_plus.reference_rates import REFERENCE_RATES, mainnet_equivalent
from fil_plus.vesting import locked_part, released, vesting_entries
from lotus_client.types import AttoFil, Epoch
from tests.fakes_chain import make_sector

GIB = 1 << 30
SIZE = 32 * GIB
LIFETIME = 540 * 2880


def sector(verified: int, flags: int = 0):
    return make_sector(1, 1000, verified, LIFETIME, flags)


def test_quality_and_power_are_the_actors_integers():
    assert quality(SIZE, LIFETIME, 16 * GIB * LIFETIME) == 5_767_168
    assert sector_qap(sector(16 * GIB), SIZE) == 188_978_561_024
    assert sector_qap(sector(0), SIZE) == 32 * GIB
    assert sector_qap(sector(8 * GIB), SIZE) == 104 * GIB
    assert sector_qap(sector(SIZE), SIZE) == 320 * GIB


def test_a_full_power_sector_of_nv29_has_ten_times_its_size_whatever_it_holds():
    assert sector_qap(sector(0, flags=2), SIZE) == 320 * GIB


def test_verified_space_is_the_weight_over_the_lifetime():
    assert verified_space(sector(16 * GIB)) == 16 * GIB


def test_the_claims_share_of_three_wins():
    reward = 33 * 10**18
    share = reward * EXTRA_MULTIPLIER * 16 * GIB // (100 << 50)
    assert share == 45_318_603_515_625


def test_locked_parts_are_three_quarters_rounded_down():
    first, second = AttoFil(11 * 10**18 + 123456789012345), AttoFil(22 * 10**18 + 987654321098765)
    assert locked_part(first).value == 8_250_092_592_591_759_258
    assert locked_part(second).value == 16_500_740_740_740_824_073


def test_vesting_table_is_the_chains():
    entries = vesting_entries(AttoFil(8_250_092_592_591_759_258), Epoch(5_500_000), Epoch(123))
    assert len(entries) == 180
    assert entries[0] == (5_503_803, AttoFil(60_522_959_354_989_314))
    assert entries[1] == (5_506_683, AttoFil(45_833_847_736_620_884))
    assert entries[-1] == (6_019_323, AttoFil(31_144_736_118_252_456))
    assert sum(part.value for _, part in entries) == 8_250_092_592_591_759_258


def test_a_part_is_released_only_after_its_epoch_has_passed():
    credited = AttoFil(11 * 10**18 + 123456789012345)
    liquid = credited.value - 8_250_092_592_591_759_258
    at = Epoch(5_500_000)
    assert released(credited, at, Epoch(5_499_999), Epoch(123)) == AttoFil(0)
    assert released(credited, at, at, Epoch(123)) == AttoFil(liquid)
    assert released(credited, at, Epoch(5_503_803), Epoch(123)) == AttoFil(liquid)
    later = released(credited, at, Epoch(5_503_804), Epoch(123))
    assert later == AttoFil(liquid + 60_522_959_354_989_314)
    assert released(credited, at, Epoch(6_019_324), Epoch(123)) == credited


def test_mainnet_equivalent_of_sixteen_gib_is_a_year_of_the_daily_extra():
    year = mainnet_equivalent(16 * GIB)
    daily = 1_473_775_724_085_365
    assert daily * 365 <= year.value < (daily + 1) * 365
    assert mainnet_equivalent(16 * GIB, share_bps=1000).value == year.value // 10
    assert "illustrative" in REFERENCE_RATES.label
