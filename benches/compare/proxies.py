"""The proxies that are compared, each with the config that an operator would write for the same job.

One worker, upstream keep-alive, X-Forwarded-For, -Proto and -Host set. nginx and HAProxy write no access log;
switchd writes one, and counts its metrics.
"""

import re
import shutil
import socket
import subprocess
from pathlib import Path

from process import Process, accepts, free_port, wait_until

SLOTS = ("blue", "green")


class Proxy:
    """One running proxy in front of `slots` (two addresses, blue first); `wrapper` is a command that counts."""

    name = ""
    package = ""

    def __init__(self, folder, slots, cpu, wrapper=()):
        self.folder = Path(folder)
        self.folder.chmod(0o755)
        self.slots = dict(zip(SLOTS, slots))
        self.port = free_port()
        self.is_counted = bool(wrapper)
        command = self.configure()
        self.process = Process([*wrapper, *command], cpu, self.folder / f"{self.name}.log")
        try:
            wait_until(self.is_ready, self.process, self.name)
        except BaseException:
            self.process.stop()
            raise

    def is_ready(self):
        return accepts(self.port)

    def configure(self):
        """Writes the config; gives the command that serves it in the foreground."""
        raise NotImplementedError

    def flip(self, slot):
        """Moves new requests to `slot`; returns when the command does."""
        raise NotImplementedError

    def stop(self, patience=10.0):
        self.process.stop(patience)


class Nginx(Proxy):
    name = package = "nginx"

    @staticmethod
    def version():
        told = subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr
        return told.split("/")[-1].strip()

    def configure(self):
        (self.folder / "upstream.conf").write_text(self.upstream("blue"))
        # valgrind loses count over a fork.
        master = "off" if self.is_counted else "on"
        (self.folder / "nginx.conf").write_text(f"""
master_process {master};
worker_processes 1; worker_rlimit_nofile 20000; daemon off;
pid {self.folder}/pid; error_log {self.folder}/error.log;
events {{ worker_connections 10000; }}
http {{
  access_log off; client_max_body_size 0; keepalive_requests 1000000000;
  client_body_temp_path {self.folder}/body; proxy_temp_path {self.folder}/proxy; fastcgi_temp_path {self.folder}/f;
  uwsgi_temp_path {self.folder}/u; scgi_temp_path {self.folder}/s;
  include {self.folder}/upstream.conf;
  server {{
    listen 127.0.0.1:{self.port} backlog=4096;
    location / {{
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_request_buffering off; proxy_max_temp_file_size 0;
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $host;
    }}
  }}
}}
""")
        return self.command()

    def command(self, *more):
        return ["nginx", "-p", self.folder, "-c", self.folder / "nginx.conf", *more]

    def upstream(self, slot):
        return f"upstream app {{ server {self.slots[slot]}; keepalive 128; keepalive_requests 1000000000; }}\n"

    def flip(self, slot):
        # What people do: sed the config, reload.
        other = SLOTS[1 - SLOTS.index(slot)]
        change = f"s/{re.escape(self.slots[other])}/{self.slots[slot]}/"
        subprocess.run(["sed", "-i", change, self.folder / "upstream.conf"], check=True)
        subprocess.run(self.command("-s", "reload"), check=True, stderr=subprocess.DEVNULL)


class Haproxy(Proxy):
    name = package = "haproxy"

    @staticmethod
    def version():
        told = subprocess.run(["haproxy", "-v"], capture_output=True, text=True).stdout
        return told.split()[2]

    def configure(self):
        self.map = self.folder / "active.map"
        self.map.write_text("active blue\n")
        self.socket = self.folder / "admin.sock"
        backends = "".join(
            f"backend {slot}\n  server app {address} pool-max-conn 128\n"
            for slot, address in self.slots.items()
        )
        config = self.folder / "haproxy.cfg"
        config.write_text(f"""
global
  nbthread 1
  maxconn 9000
  stats socket {self.socket} level admin
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  http-reuse always
  option forwardfor
frontend web
  bind 127.0.0.1:{self.port} backlog 4096
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  use_backend %[str(active),map({self.map},blue)]
{backends}""")
        return ["haproxy", "-db", "-f", config]

    def flip(self, slot):
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(5)
            admin.connect(str(self.socket))
            admin.sendall(f"set map {self.map} active {slot}\n".encode())
            while admin.recv(4096):
                pass


class Switchd(Proxy):
    name = "switchd"
    # Where `switchd` and `switchctl` were built; set by compare.py.
    built = None

    @classmethod
    def version(cls):
        told = subprocess.run([cls.built / "switchd", "--version"], capture_output=True, text=True)
        return told.stdout.split()[-1] if told.stdout else "?"

    def configure(self):
        self.socket = self.folder / "admin.sock"
        slots = "".join(
            f'[service.bench.slots.{slot}]\nhttp = ["{address}"]\n' for slot, address in self.slots.items()
        )
        config = self.folder / "switchd.toml"
        config.write_text(f"""
[runtime]
workers = 1
[admin]
socket = "{self.socket}"
[state]
dir = "{self.folder}/state"
[access_log]
target = "{self.folder}/access.log"
[limits]
body_size = "none"
[[listener]]
address = "127.0.0.1:{self.port}"
[service.bench]
initial = "blue"
{slots}[service.bench.health]
path = "/health"
fast_interval = "50ms"
[service.bench.keepalive]
max_idle = 128
""")
        return [self.built / "switchd", "run", "--config", config]

    def is_ready(self):
        return self.socket.exists() and accepts(self.port)

    def flip(self, slot):
        command = [self.built / "switchctl", "--socket", self.socket, "flip", slot]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"switchctl flip {slot}: exit {done.returncode}\n{done.stderr}")


ALL = {proxy.name: proxy for proxy in (Nginx, Haproxy, Switchd)}


def missing(names):
    """Debian packages that the comparison needs and does not find."""
    # nginx is the upstream as well.
    programs = {"nginx"} | {ALL[name].package for name in names} - {""}
    return sorted(program for program in programs if shutil.which(program) is None)
