"""The cluster tool's pure parts: versions and keys, rendered configurations, parsers, decisions."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cluster import (
    builds,
    cli,
    config,
    host,
    images,
    kubeapi,
    packages,
    pki,
    processes,
    report,
    settings,
)
from cluster.components import ORDER, components, files
from cluster.report import ClusterError, ComponentError

FOLDER = Path(settings.__file__).parent


@pytest.fixture
def here(tmp_path: Path) -> settings.Settings:
    """Settings below a folder whose path is short and the same on every machine."""
    made = settings.from_environment({"HOME": "/h", "PADDOCK_CLUSTER_NAME": "pure"})
    return dataclasses.replace(made, cache=made.cache)


def changed(here: settings.Settings, component: str, version: str) -> settings.Settings:
    parts = {**here.versions["components"], component: version}
    return dataclasses.replace(here, versions={**here.versions, "components": parts})


# --- versions and builds


@pytest.mark.parametrize(
    ("component", "version", "rebuilt"),
    [
        ("etcd", "3.6.99", {"etcd"}),
        ("containerd", "2.4.99", {"containerd"}),
        ("cni", "1.9.99", {"cni"}),
        ("helm", "3.99.0", {"helm"}),
        ("kind", "0.99.0", {"kind"}),
        ("kubernetes", "1.36.99", {"kubernetes", "kubectl"}),
    ],
)
def test_a_changed_version_rebuilds_that_component_only(
    here: settings.Settings, component: str, version: str, rebuilt: set[str]
) -> None:
    before = builds.recipes(here)
    after = builds.recipes(changed(here, component, version))
    assert {name for name in before if before[name].key != after[name].key} == rebuilt


def test_bin_folder_follows_the_versions_that_are_in_it(here: settings.Settings) -> None:
    other = changed(here, "kind", "0.99.0")
    assert builds.bin_folder(here) == builds.bin_folder(other)
    assert builds.bin_folder(here, builds.KIND) != builds.bin_folder(other, builds.KIND)
    assert builds.bin_folder(here) != builds.bin_folder(changed(here, "etcd", "3.6.99"))


def test_every_build_is_known(here: settings.Settings) -> None:
    assert {*builds.LOCAL, *builds.KIND} == set(builds.recipes(here))
    names = {name for recipe in builds.recipes(here).values() for name, _ in recipe.binaries}
    assert set(ORDER) <= names
    assert {"kubectl", "helm", "ctr", "containerd-shim-runc-v2", "ptp", "host-local"} <= names


def test_go_mod_restates_the_staging_replaces(here: settings.Settings) -> None:
    upstream = (
        "module k8s.io/kubernetes\n\nreplace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n"
        "\texample.com/x => example.com/y v1.0.0\n)\n"
    )
    recipe = builds.recipes(here)["kubernetes"]
    text = builds.go_mod(recipe, "1.26", upstream)
    assert "go 1.26.0\n" in text
    assert f"require k8s.io/kubernetes {recipe.version}\n" in text
    assert re.findall("^replace.*", text, re.M) == [
        f"replace k8s.io/api => k8s.io/api {recipe.staging}"
    ]


def test_unfinished_build_is_not_taken_for_done(
    here: settings.Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = dataclasses.replace(here, cache=tmp_path)
    calls: list[str] = []

    def compiler(recipe: builds.Recipe, *arguments: Any) -> str:
        output = Path(arguments[arguments.index("-o") + 1])
        output.write_text("binary")
        calls.append(output.name)
        if len(calls) == 2:
            raise ComponentError(recipe.name, "interrupted")
        return ""

    monkeypatch.setattr(builds, "_go", compiler)
    monkeypatch.setattr(packages, "ensure_go", lambda _: Path("/go"))
    with pytest.raises(ComponentError):
        builds.ensure_built(here, ("cni",))
    assert not builds.build_folder(here, builds.recipes(here)["cni"]).exists()
    folder = builds.ensure_built(here, ("cni",))
    assert calls == ["ptp", "host-local", "ptp", "host-local"]
    assert sorted(path.name for path in folder.iterdir()) == ["host-local", "ptp"]
    builds.ensure_built(here, ("cni",))
    assert len(calls) == 4


def test_versions_are_written_in_one_place() -> None:
    versions = tomllib.loads((FOLDER / "versions.toml").read_text())
    numbers = set(versions["components"].values())
    for path in FOLDER.glob("*.py"):
        assert not [n for n in numbers if n in path.read_text()], path


def test_no_registry_and_no_path_of_a_machine_is_written_down() -> None:
    forbidden = re.compile(
        r"proxy\.golang|pypi\.org|docker\.io|quay\.io|gcr\.io|registry\.[a-z]|/root/"
    )
    for path in FOLDER.iterdir():
        if path.is_file():
            assert not forbidden.findall(path.read_text()), path


@pytest.mark.parametrize(
    ("text", "enough"),
    [
        ("go version go1.26.8 linux/amd64", True),
        ("go version go1.26 linux/arm64", True),
        ("go version go1.27rc1 linux/amd64", True),
        ("go version go2.0 linux/amd64", True),
        ("go version go1.19.8 linux/amd64", False),
        ("go version go1.3 linux/amd64", False),
        ("", False),
        ("bash: go: command not found", False),
    ],
)
def test_go_is_enough(text: str, enough: bool) -> None:
    assert packages.go_is_enough(text, "1.26") is enough


def test_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "which", lambda name: None if name == "nft" else "/bin/x")
    assert packages.missing_packages(packages.RUN_COMMANDS) == ["nftables"]


# --- settings


@pytest.mark.parametrize("name", ["UPPER", "a" * 17, "-a", "a-", "a/b", "..", "a b"])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="PADDOCK_CLUSTER_NAME"):
        settings.from_environment({"HOME": "/h", "PADDOCK_CLUSTER_NAME": name})


def test_cache_folder_follows_xdg() -> None:
    here = settings.from_environment({"HOME": "/h", "XDG_CACHE_HOME": "/x"})
    assert here.cache == Path("/x/paddock")
    assert here.run == Path("/x/paddock/clusters/default")


def test_too_long_a_path_is_refused_before_a_socket_fails() -> None:
    with pytest.raises(ClusterError, match="XDG_CACHE_HOME"):
        settings.from_environment({"HOME": "/" + "h" * 80})


def test_instances_share_no_place() -> None:
    made = [
        settings.from_environment({"HOME": home, "PADDOCK_CLUSTER_NAME": name})
        for home in ("/h", "/i")
        for name in ("default", "x" * 16)
    ]
    for values in (
        {here.run for here in made},
        {here.volatile for here in made},
        {here.cgroup for here in made},
        {here.network for here in made},
    ):
        assert len(values) == len(made)
    # containerd refuses a longer folder for its shims' sockets.
    assert all(len(str(here.volatile / "s")) <= 42 for here in made)


def test_ports_are_distinct_and_private() -> None:
    ports = [pair for pairs in settings.PORTS.values() for pair in pairs]
    assert len(set(ports)) == len(ports)
    assert {address for address, _ in ports} == {settings.LOOPBACK, settings.NODE_IP}


# --- configurations


@pytest.fixture
def plan(here: settings.Settings, tmp_path: Path) -> tuple[list[Any], dict[Path, str]]:
    here = dataclasses.replace(here, cache=tmp_path)
    here.pki.mkdir(parents=True)
    for name in ("ca", "admin", "kubelet", "kube-proxy", "kube-scheduler"):
        (here.pki / f"{name}.crt").write_text(name)
        (here.pki / f"{name}.key").write_text(name)
    for name in ("crt", "key"):
        (here.pki / f"kube-controller-manager.{name}").write_text(name)
    texts = files(here, "/usr/sbin/runc", Path("/cni"))
    return components(here, Path("/bin"), texts), texts


def test_containerd_keeps_to_its_own_places(here: settings.Settings) -> None:
    parsed = tomllib.loads(config.containerd(here, "/usr/sbin/runc", Path("/cni")))
    plugins = parsed["plugins"]
    runtime = plugins["io.containerd.cri.v1.runtime"]
    assert parsed["state"].startswith(str(here.volatile))
    assert plugins["io.containerd.shim.v1.manager"]["socket_dir"].startswith(str(here.volatile))
    assert plugins["io.containerd.nri.v1.nri"]["disable"] is True
    assert runtime["restrict_oom_score_adj"] is True
    assert runtime["netns_mounts_under_state_dir"] is True
    runc = runtime["containerd"]["runtimes"]["runc"]["options"]
    assert runc == {"BinaryName": "/usr/sbin/runc", "Root": f"{here.volatile}/runc"}


def test_json_configurations(plan: tuple[list[Any], dict[Path, str]]) -> None:
    _, texts = plan
    parsed = {path.name: json.loads(text) for path, text in texts.items() if path.suffix != ".toml"}
    kubelet = parsed["kubelet.json"]
    assert kubelet["authentication"]["anonymous"] == {"enabled": False}
    assert kubelet["makeIPTablesUtilChains"] is False
    assert kubelet["podPidsLimit"] == 1024
    assert kubelet["cgroupRoot"].startswith("/paddock-")
    assert parsed["kube-proxy.json"]["mode"] == "nftables"
    rules = parsed["audit-policy.json"]["rules"]
    assert rules[0]["level"] == "Metadata"
    assert rules[-1] == {"level": "None"}
    admin = parsed["admin.kubeconfig"]
    assert admin["clusters"][0]["cluster"]["server"] == settings.API_SERVER
    assert "client-key-data" in admin["users"][0]["user"]


def test_nothing_listens_on_all_addresses(plan: tuple[list[Any], dict[Path, str]]) -> None:
    made, texts = plan
    everything = "\n".join([*texts.values(), *(" ".join(c.argv) for c in made)])
    assert "0.0.0.0:" not in everything
    assert "=0.0.0.0" not in everything


def test_spec_changes_with_flags_files_and_certificates(
    here: settings.Settings, plan: tuple[list[Any], dict[Path, str]], tmp_path: Path
) -> None:
    made, texts = plan
    here = dataclasses.replace(here, cache=tmp_path)
    before = {component.name: component.spec for component in made}

    def differing(texts: dict[Path, str]) -> set[str]:
        after = components(here, Path("/bin"), texts)
        return {component.name for component in after if component.spec != before[component.name]}

    assert differing(texts) == set()
    assert differing({**texts, here.run / "kubelet.json": "{}"}) == {"kubelet"}
    assert differing({**texts, here.run / "cni/10-pods.conflist": ""}) == {"containerd"}
    (here.pki / "ca.crt").write_text("another")
    assert differing(texts) == set(ORDER)


def test_components_start_in_order(plan: tuple[list[Any], dict[Path, str]]) -> None:
    assert tuple(component.name for component in plan[0]) == ORDER


def test_certificates(here: settings.Settings, tmp_path: Path) -> None:
    here = dataclasses.replace(here, cache=tmp_path)
    pki.ensure_pki(here)
    text = (here.pki / "apiserver.crt").read_text()
    made = {path.name: path.stat().st_mtime_ns for path in here.pki.iterdir()}
    assert "BEGIN CERTIFICATE" in text
    assert {f"{certificate.name}.crt" for certificate in pki.CERTIFICATES} <= made.keys()
    assert (here.pki / "ca.key").stat().st_mode & 0o077 == 0
    pki.ensure_pki(here)
    assert {path.name: path.stat().st_mtime_ns for path in here.pki.iterdir()} == made
    (here.pki / "recipe").write_text("of an older tool")
    pki.ensure_pki(here)
    assert (here.pki / "apiserver.crt").read_text() != text


# --- processes


def test_a_process_is_ours_by_its_marker_or_its_cgroup(here: settings.Settings) -> None:
    mark = {settings.MARKER: processes.marker(here, "etcd", "abc")}
    cgroup = f"7:pids:{here.cgroup}/kubepods/pod1/c1\n"
    assert processes.classify(here, mark, "0::/\n") == ("etcd", "abc")
    assert processes.classify(here, {}, cgroup) == ("pod", "")
    assert processes.classify(here, {}, "7:pids:/\n1:name=systemd:/kubepods\n") is None
    # Another instance's, also one whose name only begins like ours.
    assert processes.classify(here, {settings.MARKER: "/elsewhere|etcd|abc"}, "") is None
    assert processes.classify(here, {}, f"7:pids:{here.cgroup}-2/kubepods\n") is None


def test_a_shim_is_not_taken_for_containerd() -> None:
    shim = processes.Process(1, 1, "containerd", "/x/containerd-shim-runc-v2", "s")
    main = processes.Process(2, 1, "containerd", "/x/containerd", "s")
    assert processes.running([shim, main]) == {"containerd": main}


def test_parse_stat_survives_any_name() -> None:
    fields = " ".join(["S", *("0" for _ in range(18)), "4711", "0"])
    assert processes.parse_stat(f"12 (a) b) c) {fields}") == ("S", 4711)


def test_only_the_same_process_is_signalled(here: settings.Settings) -> None:
    found = processes.Process(1, 0, "etcd", "/sbin/init", "")
    assert processes.send(here, found, 0) is False
    assert processes.end(here, [found]) == []


# --- host


@pytest.mark.parametrize(
    ("link", "address", "prefix", "problem"),
    [
        ("eth0", "192.0.2.7", 24, False),
        ("eth0", "10.1.2.3", 16, False),
        ("eth0", "10.1.2.3", 8, True),
        ("flannel.1", "10.244.3.0", 32, True),
        ("docker0", "10.96.1.1", 24, True),
        ("lo", settings.NODE_IP, 32, False),
        ("veth1", settings.POD_GATEWAY, 32, False),
    ],
)
def test_conflicting_networks(link: str, address: str, prefix: int, problem: bool) -> None:
    found = host.conflicts([{"link": link, "local": address, "prefix": prefix}])
    assert bool(found) is problem
    assert all(link in text for text in found)


def test_kernel_settings_to_put_back() -> None:
    saved = {"net/ipv4/ip_forward": "0", "kernel/panic": "0", "vm/panic_on_oom": "0"}
    now = dict(host.KERNEL_SETTINGS)
    assert host.to_restore(saved, now, True, True) == {
        "net/ipv4/ip_forward": "0",
        "kernel/panic": "0",
    }
    assert host.to_restore(saved, now, True, False) == {"net/ipv4/ip_forward": "0"}
    assert host.to_restore(saved, now, False, True) == {"kernel/panic": "0"}
    # Somebody chose another value meanwhile.
    assert host.to_restore(saved, {**now, "kernel/panic": "30"}, False, True) == {}


def test_mountinfo_escapes() -> None:
    assert host.unescape(r"/a\040b\134c") == "/a b\\c"
    assert host.unescape("/plain") == "/plain"


def test_ready_condition() -> None:
    ready = {"type": "Ready", "status": "True"}
    node = {"status": {"conditions": [{"type": "DiskPressure"}, ready]}}
    assert kubeapi.ready_condition(node) == ready
    assert kubeapi.ready_condition({}) == {}


# --- images


def archive(path: Path, entries: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_one_file_image_is_reproducible_and_readable(tmp_path: Path) -> None:
    data = images.one_file_image("localhost/x:1", "x", b"program")
    assert data == images.one_file_image("localhost/x:1", "x", b"program")
    assert data != images.one_file_image("localhost/x:1", "x", b"program 2")
    file = tmp_path / "x.tar"
    file.write_bytes(data)
    (name, identity), *rest = images.contents(file).items()
    assert (name, rest) == ("localhost/x:1", [])
    assert re.fullmatch("sha256:[0-9a-f]{64}", identity)


def test_contents_of_archives(tmp_path: Path) -> None:
    note = {"org.opencontainers.image.ref.name": "localhost/a:1"}
    oci = {"manifests": [{"digest": "sha256:aa", "annotations": note}]}
    docker = [{"Config": "blobs/sha256/bb", "RepoTags": ["localhost/b:1", "b:2"], "Layers": []}]
    one = archive(tmp_path / "1.tar", {"index.json": json.dumps(oci).encode()})
    two = archive(tmp_path / "2.tar", {"./manifest.json": json.dumps(docker).encode()})
    assert images.contents(one) == {"localhost/a:1": "sha256:aa"}
    assert images.contents(two) == {"localhost/b:1": "sha256:bb", "b:2": "sha256:bb"}


@pytest.mark.parametrize(
    "entries", [{}, {"hello": b""}, {"index.json": b"{"}, {"manifest.json": b'[{"x": 1}]'}]
)
def test_what_is_no_image_is_refused(tmp_path: Path, entries: dict[str, bytes]) -> None:
    with pytest.raises(ClusterError, match=r"x\.tar"):
        images.contents(archive(tmp_path / "x.tar", entries))


def test_missing_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="none"):
        images.contents(tmp_path / "none")


LISTING = """\
REF            TYPE DIGEST    SIZE PLATFORMS LABELS
localhost/a:1  t    sha256:m1 1 B  linux/amd64 io.cri-containerd.image=managed
localhost/b:1  t    sha256:m2 1 B  linux/amd64 -
sha256:c1      t    sha256:m1 1 B  linux/amd64 io.cri-containerd.image=managed
reg/library/c:latest t sha256:m3 1 B linux/amd64 io.cri-containerd.image=managed
"""


@pytest.mark.parametrize(
    ("name", "identity", "loaded"),
    [
        ("localhost/a:1", "sha256:m1", True),  # by its manifest's digest
        ("localhost/a:1", "sha256:c1", True),  # by its configuration's
        ("localhost/a:1", "sha256:c9", False),  # an older build by that name
        ("localhost/b:1", "sha256:m2", False),  # the kubelet does not know it yet
        ("c", "sha256:m3", True),
        ("a:1", "sha256:m9", False),
    ],
)
def test_is_loaded(name: str, identity: str, loaded: bool) -> None:
    assert images.is_loaded(images.parse_images(LISTING), name, identity) is loaded


# --- command line and messages


@pytest.mark.parametrize("forced", ["local", "kind"])
def test_kind_of_cluster_can_be_forced(forced: str) -> None:
    assert cli.choose({"PADDOCK_CLUSTER": forced}) == forced


def test_kind_where_docker_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.kind.available", lambda: True)
    assert cli.choose({}) == "kind"
    monkeypatch.setattr("cluster.kind.available", lambda: False)
    assert cli.choose({}) == "local"
    with pytest.raises(ClusterError, match="PADDOCK_CLUSTER"):
        cli.choose({"PADDOCK_CLUSTER": "docker"})


def test_kubeconfig_says_when_there_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PADDOCK_CLUSTER_NAME", "none-such")
    monkeypatch.setenv("PADDOCK_CLUSTER", "local")
    assert cli.main(["kubeconfig"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "not up" in err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.9, "9.9 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s")],
)
def test_durations(seconds: float, text: str) -> None:
    assert report.duration(seconds) == text


def test_component_error_names_log_and_way_out(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("first\n" * 99 + "panic: no\n")
    text = str(ComponentError("etcd", "ended", log, "do this"))
    assert text.startswith("etcd: ended\n")
    assert str(log) in text
    assert "| panic: no" in text
    assert text.endswith("way out: do this")
    assert report.tail(tmp_path / "none") == []
