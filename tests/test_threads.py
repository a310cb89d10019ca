"""The default number of threads is the number of usable CPUs (of simulated machines); `threads` overrides it."""

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest

from aefast.engine.cgroups import cgroup_quota
from aefast.engine.config import config
from aefast.engine.threads import default_threads, explain_threads, resolve_threads, threads

V2_MOUNT = "31 24 0:27 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "32 31 0:29 {root} /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
    "33 31 0:30 {root} /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
)


@pytest.fixture
def machine(tmp_path):
    """A function that builds a fake root: what /proc says, and the files of the cgroup mounts."""

    def build(cgroup, mountinfo, files):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(cgroup)
        (tmp_path / "proc/self/mountinfo").write_text("21 1 8:1 / / rw - ext4 /dev/sda rw\n" + mountinfo)
        for name, text in files.items():
            path = tmp_path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return build


def default(root, n_cpus=64, **environ):
    return default_threads(root=root, environ=environ, n_cpus=n_cpus)


def test_without_limits_every_cpu_of_the_affinity_mask_counts(machine):
    root = machine("0::/\n", V2_MOUNT.format(root="/"), {"/sys/fs/cgroup/cpu.max": "max 100000\n"})
    assert default(root) == (64, "CPUs this process may run on: 64")


def test_machine_without_cgroups_has_no_quota(tmp_path):
    assert cgroup_quota(tmp_path) is None
    assert default(tmp_path, n_cpus=3)[0] == 3


def test_affinity_mask_of_this_process_is_read():
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert 1 <= default_threads(environ={})[0] <= available


def test_quota_of_version_2_is_found_and_named(machine):
    files = {"/sys/fs/cgroup/cpu.max": "200000 100000\n"}
    assert default(machine("0::/\n", V2_MOUNT.format(root="/"), files)) == (
        2,
        "cgroup quota of 2 CPUs in /sys/fs/cgroup/cpu.max",
    )


@pytest.mark.parametrize(
    ("limits", "expected", "binding"),
    [
        (("max 100000", "400000 100000", "300000 100000"), 3, "/sys/fs/cgroup/pod/box/cpu.max"),
        (("max 100000", "400000 100000", "max 100000"), 4, "/sys/fs/cgroup/pod/cpu.max"),
        (("500000 100000", "max 100000", "900000 100000"), 5, "/sys/fs/cgroup/cpu.max"),
    ],
)
def test_least_quota_of_nested_groups_decides(machine, limits, expected, binding):
    names = ("/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/pod/cpu.max", "/sys/fs/cgroup/pod/box/cpu.max")
    root = machine("0::/pod/box\n", V2_MOUNT.format(root="/"), dict(zip(names, limits, strict=True)))
    number, reason = default(root)
    assert number == expected
    assert reason.endswith(f" in {binding}")


def test_quota_of_version_1_is_found_in_nested_groups(machine):
    files = {
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "/sys/fs/cgroup/cpu,cpuacct/slice/cpu.cfs_quota_us": "150000\n",
        "/sys/fs/cgroup/cpu,cpuacct/slice/cpu.cfs_period_us": "50000\n",
        "/sys/fs/cgroup/cpu,cpuacct/slice/job/cpu.cfs_quota_us": "-1\n",
        "/sys/fs/cgroup/cpu,cpuacct/slice/job/cpu.cfs_period_us": "100000\n",
        "/sys/fs/cgroup/cpuset/slice/job/cpu.cfs_quota_us": "1\n",
        "/sys/fs/cgroup/cpuset/slice/job/cpu.cfs_period_us": "100000\n",
    }
    cgroup = "5:cpuset:/slice/job\n4:cpu,cpuacct:/slice/job\n1:name=systemd:/elsewhere\n"
    number, reason = default(machine(cgroup, V1_MOUNTS.format(root="/"), files))
    assert (number, reason) == (3, "cgroup quota of 3 CPUs in /sys/fs/cgroup/cpu,cpuacct/slice/cpu.cfs_quota_us")


def test_both_cgroup_hierarchies_count_if_both_are_mounted(machine):
    files = {
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "600000\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "/sys/fs/cgroup/unified/cpu.max": "500000 100000\n",
    }
    unified = V2_MOUNT.format(root="/").replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ")
    root = machine("4:cpu,cpuacct:/\n0::/\n", V1_MOUNTS.format(root="/") + unified, files)
    assert default(root)[0] == 5


@pytest.mark.parametrize("cgroup", ["0::/docker/f00\n", "0::/docker/f00/inner\n", "0::/../elsewhere\n", "0::/other\n"])
def test_container_that_sees_only_its_own_part_of_the_tree_finds_its_quota(machine, cgroup):
    files = {"/sys/fs/cgroup/cpu.max": "200000 100000\n", "/sys/fs/cgroup/inner/cpu.max": "max 100000\n"}
    assert default(machine(cgroup, V2_MOUNT.format(root="/docker/f00"), files))[0] == 2


def test_mount_point_with_a_space_is_understood(machine):
    mount = V2_MOUNT.format(root="/").replace("/sys/fs/cgroup", "/sys/fs/my\\040cgroup")
    assert default(machine("0::/\n", mount, {"/sys/fs/my cgroup/cpu.max": "300000 100000\n"}))[0] == 3


@pytest.mark.parametrize(("quota", "expected"), [(50_000, 1), (100_000, 1), (190_000, 1), (250_000, 2)])
def test_part_of_a_cpu_is_not_a_thread(machine, quota, expected):
    root = machine("0::/\n", V2_MOUNT.format(root="/"), {"/sys/fs/cgroup/cpu.max": f"{quota} 100000\n"})
    assert default(root)[0] == expected


def test_quota_above_the_affinity_mask_changes_nothing(machine):
    root = machine("0::/\n", V2_MOUNT.format(root="/"), {"/sys/fs/cgroup/cpu.max": "800000 100000\n"})
    assert default(root, n_cpus=4) == (4, "CPUs this process may run on: 4")


@pytest.mark.parametrize("text", ["", "max", "100000", "-5 100000", "100000 0", "garbage here", "1 2 3"])
def test_unreadable_quota_is_no_quota(machine, text):
    root = machine("0::/\nnonsense\n", V2_MOUNT.format(root="/") + "nonsense - x\n", {"/sys/fs/cgroup/cpu.max": text})
    assert cgroup_quota(root) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [("2", 2), (" 3 ", 3), ("4,2,1", 4), ("64", 8), ("0", 8), ("-1", 8), ("many", 8), ("", 8), ("9" * 50, 8)],
)
def test_omp_num_threads_lowers_the_default_and_nonsense_is_ignored(tmp_path, value, expected):
    number, reason = default(tmp_path, n_cpus=8, OMP_NUM_THREADS=value)
    assert number == expected
    assert reason.startswith("OMP_NUM_THREADS=" if expected < 8 else "CPUs this process may run on")


def test_threads_holds_inside_the_block_and_blocks_nest():
    before = resolve_threads()
    with threads(7):
        assert explain_threads() == (7, "aefast.threads(7)")
        with threads(3):
            assert resolve_threads() == 3
            with threads(None):
                assert resolve_threads() == before
        assert resolve_threads() == 7
    assert resolve_threads() == before


def test_threads_is_undone_by_an_exception():
    before = resolve_threads()
    with pytest.raises(KeyError), threads(7):
        raise KeyError
    assert resolve_threads() == before


def test_threads_is_of_one_context_and_not_of_the_process():
    entered, leave = Event(), Event()

    def elsewhere():
        with threads(99):
            entered.set()
            leave.wait(10)
            return resolve_threads()

    with ThreadPoolExecutor(1) as pool, threads(7):
        other = pool.submit(elsewhere)
        assert entered.wait(10)
        assert resolve_threads() == 7
        leave.set()
        assert other.result() == 99


def test_estimators_own_number_wins():
    with threads(7):
        assert explain_threads(np.int64(2)) == (2, "n_threads")


@pytest.mark.parametrize(
    ("n", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError), (True, TypeError)]
)
def test_wrong_number_of_threads_is_refused(n, error):
    with pytest.raises(error, match="^n must be"), threads(n):
        pass
    with pytest.raises(error, match="^n_threads must be"):
        resolve_threads(n)


def test_config_says_how_many_threads_and_why():
    with threads(2):
        settings = config()
    assert (settings["threads"], settings["threads_reason"]) == (2, "aefast.threads(2)")
    assert settings["isa_level"] in settings["isa_levels_available"]
    assert settings["compiler"]
    assert settings["eigen"].startswith(("3.", "5."))
