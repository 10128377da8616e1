"""The tree of the collection: its links, names, metadata and documentation."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "altbackup.core"
PACKAGE = f"ansible_collections.{COLLECTION}"
# The folder of the machine where this was first written, which nobody else has.
FOREIGN_PATH = re.compile(r"(?<![\w.~})-])/" + r"work(?![\w-])")
SEMANTIC_VERSION = re.compile(r"\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?")


def load(path: Path) -> Any:
    """Return the content of a YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def plugin_names(folder: str) -> set[str]:
    """Return the full names of a folder's plugins; a file of filters holds several, each with a page of its own."""
    stems = {path.stem for path in (ROOT / folder).glob("*.py") if path.stem != "__init__"}
    if folder == "plugins/filter":
        stems = {
            name
            for stem in stems
            for name in importlib.import_module(f"{PACKAGE}.plugins.filter.{stem}").FilterModule().filters()
        }
    return {f"{COLLECTION}.{stem}" for stem in stems}


def role_names() -> set[str]:
    """Return the names of the roles."""
    return {path.name for path in (ROOT / "roles").glob("*") if path.is_dir()}


def project_files() -> list[Path]:
    """Return the files that git tracks or would track, or, in a copy without git, all outside hidden folders."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, capture_output=True, text=True)
    if listing.returncode == 0 and listing.stdout:
        found = [ROOT / name for name in listing.stdout.split("\0") if name]
    else:
        found = list(visible_files(ROOT))
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


def visible_files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, leaving out hidden folders and files of runs."""
    for path in folder.iterdir():
        if path.is_file():
            yield path
        elif (
            path.is_dir() and not path.is_symlink() and path.name[0] != "." and path.name not in ("var", "__pycache__")
        ):
            yield from visible_files(path)


def foreign_lines(text: str) -> list[str]:
    """Return the lines of a text that name a folder of the machines where this was written."""
    return [line for line in text.splitlines() if FOREIGN_PATH.search(line)]


def merged_options(specs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a role's options over all entry points of its argument_specs. Raise ValueError where two differ."""
    merged: dict[str, dict[str, Any]] = {}
    for entry, spec in specs.items():
        for name, option in (spec.get("options") or {}).items():
            if merged.setdefault(name, option).get("default") != option.get("default"):
                raise ValueError(f"{name} has another default in entry point {entry}")
    return merged


def default_differences(defaults: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each default of a role that disagrees with its documented option."""
    documented = {name: option["default"] for name, option in options.items() if "default" in option}
    differences = [f"{name} has a default but no documentation" for name in sorted(set(defaults) - set(options))]
    for name in sorted(set(options) & (set(defaults) | set(documented))):
        if name not in documented:
            differences.append(f"{name} is {defaults[name]!r}, documented without default")
        elif name not in defaults:
            differences.append(f"{name} is documented as {documented[name]!r}, but has no default")
        elif defaults[name] != documented[name]:
            differences.append(f"{name} is {defaults[name]!r}, documented as {documented[name]!r}")
        elif options[name].get("required"):
            differences.append(f"{name} is required and has a default")
    return differences


def ansible_doc(plugin_type: str, names: Iterable[str], home: Path) -> dict[str, Any]:
    """Return ansible-doc's output on plugins of a type, run in the checkout with its ansible.cfg."""
    command = [str(Path(sys.executable).with_name("ansible-doc")), "--type", plugin_type, "--json", *sorted(names)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment |= {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_HOME": str(home), "ANSIBLE_NOCOLOR": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout))


@pytest.mark.parametrize(
    ("link", "destination"),
    [("plugins/modules", "../library"), (".collections/ansible_collections/altbackup/core", "../../..")],
)
def test_links_make_the_checkout_a_collection(link: str, destination: str) -> None:
    assert (ROOT / link).readlink() == Path(destination)
    assert (ROOT / link).is_dir()


def test_the_collection_link_leads_to_the_checkout() -> None:
    assert (ROOT / ".collections/ansible_collections/altbackup/core").resolve() == ROOT


@pytest.mark.parametrize(
    ("plugin_type", "folder"),
    [("module", "library"), *((name, f"plugins/{name}") for name in ("filter", "lookup", "callback"))],
)
def test_every_plugin_resolves_by_full_name_and_is_documented(plugin_type: str, folder: str, tmp_path: Path) -> None:
    names = plugin_names(folder)
    if not names:
        pytest.skip(f"{folder} is empty")
    documented = ansible_doc(plugin_type, names, tmp_path)
    assert set(documented) == names
    for name, page in documented.items():
        assert page["doc"]["collection"] == COLLECTION, name
        assert page["doc"]["short_description"], name
        if plugin_type != "callback":
            assert page["examples"], f"{name} has no examples"
            assert page["return"], f"{name} does not document what it returns"
        for option, description in page["doc"].get("options", {}).items():
            assert description.get("description"), f"{name}: option {option} has no description"


def test_examples_of_modules_name_them_in_full(tmp_path: Path) -> None:
    names = plugin_names("library")
    if not names:
        pytest.skip("library is empty")
    for name, page in ansible_doc("module", names, tmp_path).items():
        tasks = yaml.safe_load(page["examples"])
        used = {key for task in tasks for key in task}
        assert name in used, f"no example of {name} uses it by its full name"


def test_every_role_resolves_by_full_name_and_is_documented(tmp_path: Path) -> None:
    names = {f"{COLLECTION}.{name}" for name in role_names()}
    if not names:
        pytest.skip("there are no roles")
    documented = ansible_doc("role", names, tmp_path)
    assert set(documented) == names
    for name, page in documented.items():
        for entry, spec in page["entry_points"].items():
            assert spec.get("short_description"), f"{name}, entry point {entry}"


def test_every_role_has_argument_specs_for_its_entry_points() -> None:
    for name in role_names():
        specs = load(ROOT / "roles" / name / "meta" / "argument_specs.yml")["argument_specs"]
        assert specs, name
        for entry in specs:
            assert (ROOT / "roles" / name / "tasks" / f"{entry}.yml").is_file(), f"role {name}: no tasks for {entry}"


def test_only_the_settings_role_has_variables_of_users() -> None:
    for name in role_names() - {"altbackup"}:
        for path in (ROOT / "roles" / name).glob("defaults/**/*.yml"):
            assert not [key for key in load(path) or {} if not key.startswith(f"__{name}_")], path


def test_defaults_of_the_settings_role_agree_with_its_argument_specs() -> None:
    role = ROOT / "roles" / "altbackup"
    if not role.is_dir():
        pytest.skip("role altbackup is not there yet")
    options = merged_options(load(role / "meta" / "argument_specs.yml")["argument_specs"])
    defaults: dict[str, Any] = {}
    for path in sorted(role.glob("defaults/**/*.yml")):
        defaults |= load(path) or {}
    assert len(options) > 10
    assert all(name.startswith("altbackup_") for name in options)
    assert default_differences(defaults, options) == []


@pytest.mark.parametrize(
    ("defaults", "options", "count"),
    [
        ({"a": 3}, {"a": {"default": 3}}, 0),
        ({}, {"a": {"required": True}}, 0),
        ({"a": 3}, {"a": {"default": 4}}, 1),
        ({"a": 3}, {"a": {}}, 1),
        ({}, {"a": {"default": 3}}, 1),
        ({"a": 3}, {}, 1),
        ({"a": 3}, {"a": {"default": 3, "required": True}}, 1),
    ],
)
def test_differences_of_defaults_are_found(defaults: dict[str, Any], options: dict[str, Any], count: int) -> None:
    assert len(default_differences(defaults, options)) == count


def test_galaxy_metadata_is_complete() -> None:
    galaxy = load(ROOT / "galaxy.yml")
    assert f"{galaxy['namespace']}.{galaxy['name']}" == COLLECTION
    assert SEMANTIC_VERSION.fullmatch(galaxy["version"])
    assert galaxy["license"] == ["GPL-3.0-or-later"]
    assert (ROOT / galaxy["readme"]).is_file()
    assert {".collections", ".venv", "var"} <= set(galaxy["build_ignore"])
    for key in ("repository", "documentation", "homepage", "issues"):
        assert galaxy[key].startswith("https://"), key


def test_version_has_release_notes_once_anything_was_released() -> None:
    releases = load(ROOT / "changelogs" / "changelog.yaml")["releases"]
    if not releases:
        pytest.skip("nothing was released yet")
    newest = max(releases, key=lambda version: [int(part) for part in re.findall(r"\d+", version)[:3]])
    assert newest == load(ROOT / "galaxy.yml")["version"]
    assert newest.replace(".", r"\.") in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_runtime_states_the_oldest_ansible() -> None:
    assert load(ROOT / "meta" / "runtime.yml")["requires_ansible"].startswith(">=2.17")


def test_ansible_cfg_has_only_known_settings(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("ansible-config")), "validate", "--type", "all"]
    environment = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_HOME": str(tmp_path)}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr


def test_playbooks_can_be_called_by_full_name() -> None:
    for path in (ROOT / "playbooks").glob("*.y*ml"):
        assert re.fullmatch(r"[a-z_][a-z0-9_]*\.yml", path.name), path


def test_logic_of_modules_imports_nothing_of_ansible() -> None:
    for path in (ROOT / "plugins" / "module_utils").rglob("*.py"):
        assert not re.search(r"^\s*(?:from|import) ansible\b", path.read_text(encoding="utf-8"), re.MULTILINE), path


def test_no_file_names_the_machine_it_was_written_on() -> None:
    files = project_files()
    assert Path(__file__).resolve() in files
    found = {str(path): foreign_lines(path.read_bytes().decode("utf-8", "replace")) for path in files}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_names_of_foreign_machines_are_found() -> None:
    foreign = "/" + "work/main/x"
    assert foreign_lines(f"a\ncd {foreign}\n/home/scm{foreign}\n") == [f"cd {foreign}"]
