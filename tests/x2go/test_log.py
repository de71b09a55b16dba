"""X2GoLogger: what is in the mask arrives at `logging` with its tag, everything else nowhere."""

from __future__ import annotations

import copy
import io
import logging
import os

import pytest

from crl.secrets import Secret
from crl.x2go import X2GoLogger, log


def test_messages_arrive_at_logging(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "crl.x2go")
    logger = X2GoLogger(tag="_X2GoProxy")
    logger("up", loglevel=log.loglevel_WARN)
    logger.message("hidden", loglevel=log.loglevel_DEBUG)
    logger("plain")
    logger("other", log.loglevel_ERROR, tag="cache")
    logger("both", loglevel=log.loglevel_NOTICE | log.loglevel_DEBUG)
    assert [(record.name, record.levelno, record.getMessage()) for record in caplog.records] == [
        ("crl.x2go.X2GoProxy", logging.WARNING, "up"),
        ("crl.x2go.X2GoProxy", logging.INFO, "plain"),
        ("crl.x2go.cache", logging.ERROR, "other"),
        ("crl.x2go.X2GoProxy", logging.INFO, "both"),
    ]


def test_a_destination_gets_lines_as_of_old() -> None:
    logger = X2GoLogger(name="/usr/bin/prog", tag="part")
    stream = io.StringIO()
    logger.destination = stream  # type: ignore[misc]  # also for one logger alone
    secret = Secret("s3cret-pass")
    logger(f"password {secret.value}", loglevel=log.loglevel_ERROR)
    copy.deepcopy(logger)("copied", loglevel=log.loglevel_NOTICE)
    assert stream.getvalue() == (
        f"prog[{os.getpid()}] (part) ERROR: password <secret>\nprog[{os.getpid()}] (part) NOTICE: copied\n"
    )


def test_copies_share_the_level() -> None:
    logger = X2GoLogger()
    other, tagged = copy.deepcopy(logger), log.logger_for(logger, 0, "tag")
    logger.set_loglevel_debug()
    assert other.get_loglevel() == tagged.loglevel == 8 + 16 + 32 + 64 + 128
    tagged.loglevel = 8
    assert logger.get_loglevel() == 8
    assert (other.tag, tagged.tag) == (None, "tag")


def test_a_logger_of_logging_can_be_given(caplog: pytest.LogCaptureFixture) -> None:
    log.logger_for(logging.getLogger("mine"), log.loglevel_DEFAULT, "tag")("here", loglevel=log.loglevel_ERROR)
    assert [(record.name, record.getMessage()) for record in caplog.records] == [("mine", "here")]


def test_it_can_stand_where_a_logger_of_logging_does(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "crl.x2go")
    logger = X2GoLogger(loglevel=log.loglevel_ERROR | log.loglevel_WARN | log.loglevel_DEBUG)
    for level in ("error", "warning", "info", "debug"):
        getattr(logger, level)("%s of %d", level, 4)
    logger.error("100%")
    assert [record.getMessage() for record in caplog.records] == ["error of 4", "warning of 4", "debug of 4", "100%"]


@pytest.mark.parametrize(
    ("name", "level"),
    [("none", 0), ("quiet", 0), ("error", 8), ("WARN", 24), ("notice", 56), ("default", 56), ("info", 120),
     ("debug", 248), ("debug_sftpxfer", 1272), (24, 24)],
)  # fmt: skip
def test_levels_by_name(name: str | int, level: int) -> None:
    logger = X2GoLogger(loglevel=1)
    logger.set_loglevel(name)
    assert logger.get_loglevel() == level


def test_levels_by_method() -> None:
    logger = X2GoLogger()
    levels = []
    for change in ("quiet", "error", "warn", "notice", "info", "debug"):
        getattr(logger, f"set_loglevel_{change}")()
        levels.append(logger.get_loglevel())
    logger.enable_debug_sftpxfer()
    logger.enable_debug_sftpxfer()
    levels.append(logger.get_loglevel())
    logger.disable_debug_sftpxfer()
    logger.disable_debug_sftpxfer()
    levels.append(logger.get_loglevel())
    assert levels == [0, 8, 24, 56, 120, 248, 1272, 248]
    with pytest.raises(ValueError, match="no log level 'loud'"):
        logger.set_loglevel("loud")
