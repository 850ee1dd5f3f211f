"""What the server is given to compute: it comes, and not too often."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from finetide.config.times import check_cron, check_rrule, check_zone

GOOD = (
    "15 3 * * *",
    "*/15 * * * *",
    "0 0-6/2 1,15 * mon-fri",
    "59 23 31 dec SUN",
    "0 12 * * 7",
    "0 0 29 2 *",
    "0 0 29 2 1",
    "0 0 30,1 2 *",
)
BAD = {
    "15 3 * *": "must have five fields, it has 4: minute, hour, day, month, day of the week",
    "60 3 * * *": "minute: '60' is not between 0 and 59",
    "0 24 * * *": "hour: '24' is not between 0 and 23",
    "0 3 0 * *": "day of the month: '0' is not between 1 and 31",
    "0 3 * foo *": "month: 'foo' is not between 1 and 12",
    "0 3 * * 8": "day of the week: '8' is not between 0 and 7",
    "*/0 3 * * *": "minute: the step after / must be a whole number above 0, in '*/0'",
    "0 6-3 * * *": "hour: '6-3' ends before it begins",
    "0 3 * * -1": "day of the week: '' is not between 0 and 7",
    "5-5 * * * *": "minute: '5-5' is one number, write '5'",
    "0 0 30 2 *": "never comes: no month of '2' has a day 30",
    "0 0 31 2 1": "never comes: no month of '2' has a day 31",
    "0 0 31 2,apr *": "never comes: no month of '2,apr' has a day 31",
}


@pytest.mark.parametrize("line", GOOD)
def test_what_passes_is_read_by_prefects_parser_too(line: str) -> None:
    from prefect._vendor.croniter import croniter

    check_cron(line)
    assert croniter.is_valid(line)
    assert croniter(line, datetime(2026, 1, 1)).get_next(datetime) > datetime(2026, 1, 1)


@pytest.mark.parametrize("line", BAD)
def test_a_bad_cron_line_names_the_field(line: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_cron(line)
    assert str(caught.value) == BAD[line]


RULES = (
    "FREQ=WEEKLY;BYDAY=MO;BYHOUR=3;BYMINUTE=0", "freq=daily", "FREQ=HOURLY;BYMINUTE=0,15,30,45",
    "FREQ=DAILY;INTERVAL=3",
    "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", "FREQ=DAILY;UNTIL=20991201T000000",
    "DTSTART:20260101T030000Z\nRRULE:FREQ=DAILY;UNTIL=20991201T000000Z",
    "DTSTART;TZID=Europe/Berlin:20260101T030000\nRRULE:FREQ=DAILY",
    "DTSTART:20260101T030000\nRRULE:FREQ=DAILY\nEXDATE:20261202T030000",
)  # fmt: skip
BAD_RULES = {
    "FREQ=SOMETIMES": "must be a recurrence rule of RFC 5545: invalid 'FREQ': SOMETIMES",
    "BYHOUR=3": "must be a recurrence rule of RFC 5545: FREQ is missing",
    "FREQ=DAILY;UNTIL=20200101T000000Z": "must be a recurrence rule of RFC 5545: UNTIL must be written as DTSTART",
    "FREQ=DAILY;INTERVAL=0": "INTERVAL must be at least 1, it is 0",
    "FREQ=HOURLY;INTERVAL=-1": "INTERVAL must be at least 1, it is -1",
    "FREQ=SECONDLY": "FREQ must be HOURLY or longer: every_minutes is for minutes, or BYMINUTE=0,15,30,45",
    "FREQ=MINUTELY;BYHOUR=3;BYMONTH=2;BYMONTHDAY=30": "FREQ must be HOURLY or longer",
    "FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30": "never comes",
    "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30": "never comes",
    "FREQ=DAILY;UNTIL=19990101": "never comes",
    "FREQ=DAILY;COUNT=1": "COUNT needs a DTSTART from which to count",
    "DTSTART:20260101T030000\nRRULE:FREQ=DAILY;COUNT=0": "never comes",
    "RRULE:FREQ=DAILY\nEXRULE:FREQ=DAILY": "EXRULE is no part of RFC 5545 any more: name the dates with EXDATE",
    "FREQ=HOURLY;BYMINUTE=" + ",".join(map(str, range(13))): "BYMINUTE has at most 12 minutes and",
    "FREQ=DAILY;BYSECOND=0,30": "BYMINUTE has at most 12 minutes and BYSECOND one second: use every_minutes",
    "FREQ=DAILY;BYHOUR=" + ",".join(["1"] * 4000): "must have 6500 signs at most, it has 8017",
}


@pytest.mark.parametrize("text", RULES)
def test_a_rule_that_passes_gives_the_server_dates(text: str) -> None:
    from prefect.server.schemas.schedules import RRuleSchedule

    check_rrule(text)
    after = datetime(2026, 11, 22, tzinfo=UTC)
    assert len(asyncio.run(RRuleSchedule(rrule=text, timezone="UTC").get_dates(2, start=after))) == 2


@pytest.mark.parametrize("text", BAD_RULES)
def test_a_rule_that_the_server_cannot_follow_is_refused(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_rrule(text)
    assert str(caught.value).startswith(BAD_RULES[text])


def test_a_rule_that_has_run_out_is_still_one() -> None:
    check_rrule("DTSTART:20240101T030000\nRRULE:FREQ=DAILY;UNTIL=20240201T000000")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "EST"])
def test_a_zone_that_passes_is_the_servers_too(zone: str) -> None:
    from prefect.server.schemas.schedules import CronSchedule

    check_zone(zone)
    assert CronSchedule(cron="0 3 * * *", timezone=zone).timezone == zone


@pytest.mark.parametrize("zone", ["Mars/Olympus", "europe/berlin ", "", "../UTC", "posix/UTC", "localtime", "Factory"])
def test_what_is_no_zone_of_the_servers_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="must be a time zone as the IANA names it"):
        check_zone(zone)
