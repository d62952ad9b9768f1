"""What the daemon uses, once a second, and whether that grows."""

import os
import pathlib
import statistics
import time

SURE = 4  # with twenty blocks by chance once in two thousand runs; a leak at each reload shows
ZOMBIE_LOOKS = 10  # one that nobody waits for stays; and a machine may stand still for seconds


def of_stat(pid):
    """The words of /proc/PID/stat behind the program's name: proc(5), from `state` on."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


class Samples:
    def __init__(self, pid, waiting):
        self.pid = pid
        self.waiting = waiting  # tells how many of its descriptors wait for a target
        self.rows = []
        self.zombies = 0  # children that were so for ZOMBIE_LOOKS
        self._dead = {}  # for how many looks

    def cpu_s(self):
        """The CPU-time clock of a process, all its threads (clock_getcpuclockid(3))."""
        return time.clock_gettime_ns(~self.pid << 3 | 2) / 1e9

    def _children(self):
        pids = []
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            try:
                pids += (task / "children").read_text().split()
            except OSError:
                continue  # the thread has ended
        return pids

    def _count_zombies(self, pids):
        dead = {}
        for pid in pids:
            try:
                if of_stat(pid)[0] == "Z":
                    dead[pid] = self._dead.get(pid, 0) + 1
            except OSError:
                continue
        self.zombies += list(dead.values()).count(ZOMBIE_LOOKS)
        self._dead = dead

    def take(self):
        proc = pathlib.Path(f"/proc/{self.pid}")
        children = self._children()
        self._count_zombies(children)
        pages = int((proc / "statm").read_text().split()[1])
        self.rows.append({
            "at": time.monotonic(), "cpu_s": self.cpu_s(), "children": len(children),
            "rss_kb": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
            "fds": len(os.listdir(proc / "fd")) - self.waiting(),
            "threads": int(of_stat(self.pid)[17])})


def line_through(points):
    """Least squares: the slope and its standard error."""
    mean_x, mean_y = (statistics.fmean(column) for column in zip(*points))
    xx = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / xx
    rest = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in points)
    return slope, (rest / max(1, len(points) - 2) / xx) ** 0.5


class Growth:
    """A line through the medians of blocks, a twentieth of the time each but 6 to 60 s. It grows if
    the line gains, over the whole time, more than `part` of the median, and its slope is more than
    SURE standard errors."""

    def __init__(self, rows, key, part):
        begin, end = rows[0]["at"], rows[-1]["at"]
        width_s = min(60.0, max(6.0, (end - begin) / 20))
        blocks = {}
        for row in rows:
            blocks.setdefault(int((row["at"] - begin) / width_s), []).append(row[key])
        points = [((i + 0.5) * width_s / 3600, statistics.median(values))
                  for i, values in blocks.items()]
        self.median = statistics.median(row[key] for row in rows)
        self.per_hour, self.error = line_through(points)
        self.gained = self.per_hour * (end - begin) / 3600
        self.grows = self.gained > part * self.median and self.per_hour > SURE * self.error

    def text(self, unit):
        return (f"median {self.median:.0f}{unit}, slope {self.per_hour:+.1f}{unit}/hour "
                f"(standard error {self.error:.1f}), {self.gained:+.1f}{unit} in all")
