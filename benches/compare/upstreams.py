"""The upstreams: nginx with one worker, and the load's own sink for uploads."""

import subprocess
from pathlib import Path

from process import Process, accepts, free_port, wait_until

MIB = 1024 * 1024
DOWNLOAD = 10 * MIB


class Upstreams:
    """Addresses by job: `app`, `blue`, `green`, `closing`, `sink`."""

    def __init__(self, folder, load, cpu):
        self.folder = Path(folder)
        self.folder.chmod(0o755)
        self.processes = []
        ports = {job: free_port() for job in ("app", "blue", "green", "closing")}
        self.addresses = {job: f"127.0.0.1:{port}" for job, port in ports.items()}
        (self.folder / "10m").write_bytes(b"0123456789abcdef" * (DOWNLOAD // 16))
        nginx = self.start(self.nginx(ports), cpu, "upstream.log")
        wait_until(lambda: all(map(accepts, ports.values())), nginx, "the upstream nginx")
        sink = self.start([load, "sink"], cpu, "sink.log", stdout=subprocess.PIPE)
        self.addresses["sink"] = sink.popen.stdout.readline().decode().strip()
        if not self.addresses["sink"]:
            raise RuntimeError(f"the upload sink did not start:\n{sink.log_end()}")

    def start(self, command, cpu, log, **more):
        process = Process(command, cpu, self.folder / log, **more)
        self.processes.append(process)
        return process

    def nginx(self, ports):
        def server(job):
            keepalive = "keepalive_timeout 0;" if job == "closing" else ""
            answer = "x" * 1024
            return f"""
  server {{
    listen 127.0.0.1:{ports[job]} backlog=4096; root {self.folder}; {keepalive}
    location = /1k {{ add_header X-Slot {job}; add_header Cache-Control no-store; return 200 "{answer}"; }}
    location = /health {{ return 200 "well"; }}
  }}"""

        config = self.folder / "upstream.conf"
        config.write_text(f"""
worker_processes 1; worker_rlimit_nofile 20000; daemon off;
pid {self.folder}/pid; error_log {self.folder}/error.log crit;
events {{ worker_connections 10000; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; default_type text/html;
  sendfile on; open_file_cache max=16;
  client_body_temp_path {self.folder}/b; proxy_temp_path {self.folder}/p; fastcgi_temp_path {self.folder}/f;
  uwsgi_temp_path {self.folder}/u; scgi_temp_path {self.folder}/s;
  {"".join(map(server, ports))}
}}
""")
        return ["nginx", "-p", self.folder, "-c", config]

    def stop(self):
        for process in self.processes:
            process.stop()
