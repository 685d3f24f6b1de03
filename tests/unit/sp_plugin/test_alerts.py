from __future__ import annotations

from structlog.testing import capture_logs

from sp_plugin.alerts import Alerts


async def test_an_alert_is_logged_when_it_is_news_and_again_after_six_hours():
    times = iter([0.0, 10.0, 6 * 3600.0 - 1, 6 * 3600.0 - 1, 6 * 3600.0])
    alerts = Alerts(lambda: next(times))
    with capture_logs() as logs:
        for payout in ("p-1", "p-1", "p-1", "p-2", "p-1"):
            await alerts("payout_push_forbidden", f"payout {payout} waits for a token")
    assert [entry["text"][:10] for entry in logs] == ["payout p-1", "payout p-2", "payout p-1"]


async def test_endless_different_alerts_are_all_logged_and_take_bounded_memory():
    alerts = Alerts(lambda: 0.0)
    with capture_logs() as logs:
        for number in range(2500):
            await alerts("payout_stuck", str(number))
        await alerts("payout_stuck", "2499")
    assert len(logs) == 2500
    assert len(alerts._logged) == 1000
