"""The stream of a MariaDB dump: its tables, their rows, and whether it is complete."""

from __future__ import annotations

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.kinds.mysql_stream import read
from ansible_collections.altbackup.core.plugins.module_utils.system.digest import new_hash

MARIADB = rb"""
CREATE TABLE `page` (
  `id` int(11) NOT NULL
);
INSERT INTO `page` VALUES
(1,'a (b) \';\n x',0x62696E,2),
(2,'c''); -- no end',NULL,4),
(3,'\\',0x78,6);
CREATE TABLE `odd ``name (` (
INSERT INTO `odd ``name (` (`a`, `b (`) VALUES
(1,2);
CREATE TABLE `empty` (
DELIMITER ;;
CREATE PROCEDURE p() BEGIN
INSERT INTO `page` VALUES (9);
END ;;
DELIMITER ;

-- Dump completed
"""
ORACLE = b"CREATE TABLE `page` (\nINSERT INTO `page` VALUES (1,'a(),('),(2,'b;'),(3,'it''s');\nINSERT INTO `page` VALUES (4,'');\n-- Dump completed\n"


def test_rows_are_counted_as_either_program_writes_them() -> None:
    stream = read(MARIADB.splitlines(keepends=True))
    assert stream.rows == {"page": 3, "odd `name (": 1, "empty": 0} and stream.completed
    assert read(ORACLE.splitlines(keepends=True)).rows == {"page": 4}


def test_digests_are_those_of_the_rows_of_a_table() -> None:
    one = read(MARIADB.splitlines(keepends=True)).digests
    other = read(MARIADB.replace(b"0x62", b"0x63").splitlines(keepends=True)).digests
    assert one["page"] != other["page"] and one["odd `name ("] == other["odd `name ("]
    assert one["empty"] == new_hash("sha256").hexdigest()


@pytest.mark.parametrize(
    "text", [b"", MARIADB[:-20], b"INSERT INTO `page` VALUES\n(1),\n-- Dump completed\n", b"-- Dump completed\nmore\n"]
)
def test_what_is_cut_is_not_whole(text: bytes) -> None:
    assert not read(text.splitlines(keepends=True)).completed
