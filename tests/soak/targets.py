"""What the daemon is told to ask: the targets, and a configuration that is never twice the same."""

import os
import random

DEFAULTS = {"period": 1.0, "timeout": 0.8, "fall": 3, "rise": 2, "confirm": 1.0}
CHOICES = {"fall": (1, 2, 3, 3, 5), "rise": (1, 2, 2, 3), "confirm": (0.5, 1.0, 1.0),
           "timeout": (0.8, 0.8, 0.9), "period": (1.0, 1.0, 1.0, 2.0)}
CHANGES = 12  # of dependencies, from one configuration to the next

# Ways to spoil a configuration.
FAULTY = (
    lambda text: text + "\ntiemout = 1;\n",
    lambda text: text + '\nperiod = "1s";\n',
    lambda text: text[:len(text) // 2],
    lambda text: text.replace('name = "t', 'name = "t t', 1),
    lambda text: text.replace("http://", "htpp://", 1),
    lambda text: text.replace('url = "', 'timeout = "9s"; url = "', 1),
    lambda text: text.replace("dependencies = (", 'dependencies = ( { name = "t1"; },', 1),
    lambda text: text + '\n@include "is-not-there.conf"\n',
    lambda text: "dependencies = 5;",
)


class Target:
    """A slot of the responder, and how the configuration asks it."""

    def __init__(self, slot, kind, temper):
        self.slot, self.kind, self.temper = slot, kind, temper
        self.name = f"t{slot}"
        self.renamed = self.variant = 0
        important = "required" if temper in "wc" else ("optional", "info")[slot % 2]
        self.settings = {**DEFAULTS, "importance": important}

    def asked(self, work, port):
        """The settings of what is asked; a variant is asked anew though it comes to the same."""
        if self.kind == "x":
            script = (f"read code < {work}/{self.slot}.exec; [ $code != 9 ] || exec sleep 60; "
                      "exit $code")
            return f'exec = [ "/bin/sh", "-c", "{script}", "{self.variant}" ];'
        at = f"127.1.{(self.slot + 1) >> 8}.{(self.slot + 1) & 255}:{port}"
        url = {
            "h": f"http://{at}/{self.variant}",
            "k": f"http://{at}/{self.variant}",
            "u": f"http+unix://{work}/{self.slot}.sock:/{self.variant}",
            "d": f"http://{self.slot}.soak.test:{port}/{self.variant}",
            "s": f"https://{at}/{self.variant}",
            "r": f"redis://{at}",
            "t": f"tcp://{at}",
        }[self.kind]
        more = {"k": " reuse = true;",
                "s": f' ca_file = "{work}/cert.pem"; server_name = "soak.test";'}
        return f'url = "{url}";' + more.get(self.kind, "")

    def line(self, work, port):
        s = self.settings
        words = [f'name = "{self.name}";', self.asked(work, port)]
        for key in ("period", "timeout", "confirm"):
            # What is not written adapts to the period.
            if s[key] != DEFAULTS[key] or s["period"] != DEFAULTS["period"]:
                words.append(f'{key} = "{int(s[key] * 1000)}ms";')
        for key in ("fall", "rise"):
            if s[key] != DEFAULTS[key]:
                words.append(f"{key} = {s[key]};")
        if s["importance"] != "required":
            words.append(f'importance = "{s["importance"]}";')
        return f"{{ {' '.join(words)} }}"


def make_targets(count):
    """Most are plain http. Two of nine of those are steady ("w"): they never fail and are never
    changed. A tenth of all are calm ("c"), the rest lively ("l"): see may_fail() in responder.c."""
    shares = {"x": 250, "s": 250, "d": 50, "u": 50, "k": 25, "r": 50, "t": 80}
    kinds = [kind for kind, part in shares.items() for _ in range(max(1, count // part))]
    kinds += "h" * (count - len(kinds))
    targets = []
    for slot, kind in enumerate(kinds):
        steady = kind == "h" and slot % 9 in (0, 4)
        targets.append(Target(slot, kind, "w" if steady else "c" if slot % 10 == 3 else "l"))
    return targets


class Configuration:
    """The file. Each one has a number, which is in the service's name."""

    def __init__(self, work, targets, port, name_port, seed):
        self.work, self.port, self.name_port = work, port, name_port
        self.path = work / "health.conf"
        self.number, self.status = 1, 500
        self.lines = {t.name: t.line(work, port) for t in targets}  # in the file's order
        self.changeable = [t for t in targets if t.temper != "w"]
        self.gone = []
        self.random = random.Random(seed)

    @property
    def second(self):
        """A second address, which comes and goes."""
        return f"{self.work}/second.sock" if self.number // 7 % 2 else None

    def text(self):
        second = f', "unix:{self.second}"' if self.second else ""
        groups = ",\n".join(self.lines.values())
        return (f'name = "soak-{self.number}";\n'
                f'listen = [ "127.0.0.1:0"{second} ];\nworkers = 8;\n'
                f"unhealthy_status = {self.status};\n"
                f'nameservers = [ "127.0.0.1:{self.name_port}" ];\n'
                f'defaults = {{ period = "1s"; }};\ndependencies = (\n{groups}\n);\n')

    def write(self, text):
        new = self.path.with_suffix(".new")
        new.write_text(text)
        os.replace(new, self.path)

    # Each change is told to the observer as an operation.

    def put(self, t, asked):
        """Adds it, at the end, or changes it where it is; `asked`: it will be asked anew."""
        self.lines[t.name] = t.line(self.work, self.port)
        return {"do": "put", "name": t.name, "slot": t.slot, "kind": t.kind, "asked": asked,
                "settings": dict(t.settings)}

    def remove(self, t):
        del self.lines[t.name]
        return {"do": "remove", "name": t.name}

    def change(self):
        """Makes the next one; how it differs."""
        r = self.random
        self.number += 1
        if r.random() < 0.1:
            self.status = r.choice((429, 500, 503))
        back, self.gone = self.gone[:-4], self.gone[-4:]
        ops = [self.put(t, asked=True) for t in back]
        others = (t for t in r.sample(self.changeable, CHANGES)
                  if t.name in self.lines and t not in back)
        for i, t in enumerate(others):
            # What is asked by name is asked anew only when the name server can be counted on.
            if i < 2 and t.kind != "d":
                ops.append(self.remove(t))
                self.gone.append(t)
            elif i < 4 and t.kind != "d":
                ops.append(self.remove(t))
                t.renamed += 1
                t.name = f"t{t.slot}-{t.renamed}"
                ops.append(self.put(t, asked=True))
            elif i < 6 and t.kind in "hkusx":
                t.variant += 1
                ops.append(self.put(t, asked=True))
            else:
                self._judge_otherwise(t)
                ops.append(self.put(t, asked=False))
        return ops

    def _judge_otherwise(self, t):
        r = self.random
        key = r.choice((*CHOICES, "importance"))
        if key != "importance":
            t.settings[key] = r.choice(CHOICES[key])
        elif t.temper == "c":
            t.settings[key] = r.choice(("required", "optional"))
        else:
            t.settings[key] = r.choice(("optional", "info"))
