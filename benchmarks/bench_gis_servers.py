"""The GIS interface beside MapServer and QGIS Server: same machine, same tables, same run.

Needs `wrk` and, for the peers, the Debian packages nginx-light, spawn-fcgi, cgi-mapserver, qgis-server;
a peer that is not installed is told and left out. Each is one FastCGI process kept alive behind one
nginx worker; the client's connections are kept alive too. Ours is one worker without a proxy.
"""

import json
import os
import shutil
import subprocess
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from benchmarks import bench_service as service
from benchmarks.bench_ogc import BOX

CGI = Path("/usr/lib/cgi-bin")
FEATURE = 1600

NGINX = """\
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr;
events {{}}
http {{
  access_log off; keepalive_requests 1000000; client_body_temp_path {folder}/body;
  upstream mapserver {{ server 127.0.0.1:{mapserver}; keepalive 4; }}
  upstream qgis {{ server 127.0.0.1:{qgis}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{port};
    fastcgi_temp_path {folder}/fastcgi; fastcgi_buffers 64 64k; fastcgi_read_timeout 60s;
    fastcgi_param QUERY_STRING $query_string; fastcgi_param REQUEST_METHOD $request_method;
    fastcgi_param REQUEST_URI $request_uri; fastcgi_param SERVER_PROTOCOL $server_protocol;
    fastcgi_param SERVER_NAME 127.0.0.1; fastcgi_param SERVER_PORT {port};
    fastcgi_param HTTP_HOST $http_host; fastcgi_param SCRIPT_NAME $script;
    fastcgi_param PATH_INFO $path;
    set $script ""; set $path $uri;
    location = /ready {{ return 200; }}
    location /wfs3 {{ fastcgi_pass qgis; }}
    location ~ ^/mapserv(/.*)$ {{ set $script /mapserv; set $path $1; fastcgi_pass mapserver; }}
  }}
}}
"""
MAPSERVER = 'CONFIG MAPS CITY "{folder}/city.map" END END\n'
MAPFILE = """\
MAP NAME "city" EXTENT 113 35 113.5 35.4 SIZE 100 100
  PROJECTION "init=epsg:4326" END
  WEB METADATA
    "ows_enable_request" "*" "oga_onlineresource" "http://127.0.0.1:{port}/mapserv/CITY/ogcapi"
  END END
  LAYER NAME "camera" TYPE POINT STATUS ON TEMPLATE "none"
    CONNECTIONTYPE POSTGIS CONNECTION "host={socket} user=registry dbname=registry"
    PROCESSING "CLOSE_CONNECTION=DEFER"
    DATA "geometry FROM camera USING UNIQUE id USING SRID=4326"
    PROJECTION "init=epsg:4326" END
    METADATA "gml_include_items" "all" "gml_featureid" "id" "oga_title" "camera" END
  END
END
"""
QGIS = """\
from qgis.core import QgsApplication, QgsProject, QgsVectorLayer
application = QgsApplication([], False)
application.initQgis()
uri = ("host='{socket}' dbname='registry' user='registry' key='id' estimatedmetadata=true srid=4326 "
       'type=Point table="public"."camera" (geometry)')
layer = QgsVectorLayer(uri, "camera", "postgres")
assert layer.isValid()
project = QgsProject.instance()
project.addMapLayer(layer)
project.writeEntry("WFSLayers", "/", [layer.id()])
assert project.write("{folder}/city.qgs")
"""
"""Run by the system's Python, which has QGIS."""


def _installed() -> dict[str, Path]:
    """Return the peers that can run here; tell the others."""
    wanted = {"MapServer": CGI / "mapserv", "QGIS Server": CGI / "qgis_mapserv.fcgi"}
    front = [name for name in ("nginx", "spawn-fcgi") if shutil.which(name) is None]
    for name, program in wanted.items():
        if front or not program.exists():
            print(f"{name} is left out: {', '.join(front) or program.name} is not installed")
    return {} if front else {name: path for name, path in wanted.items() if path.exists()}


def _serve_peers(stack: ExitStack, peers: dict[str, Path], socket: Path, folder: Path) -> dict[str, str]:
    """Start nginx and a FastCGI process for each peer; return the address of its cameras."""
    front, *backs = (service._free_port() for _ in range(3))
    told = {"folder": folder, "socket": socket, "port": front}
    told |= {"mapserver": backs[0], "qgis": backs[1]}
    files = {"nginx.conf": NGINX, "mapserver.conf": MAPSERVER, "city.map": MAPFILE}
    for name, words in (files | {"project.py": QGIS}).items():
        (folder / name).write_text(words.format(**told))
    if "QGIS Server" in peers:
        quiet = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
        subprocess.run(["/usr/bin/python3", folder / "project.py"], env=quiet, check=True)
    base = f"http://127.0.0.1:{front}"
    nginx: list[str | Path] = ["nginx", "-p", folder, "-c", folder / "nginx.conf"]
    stack.enter_context(service._running(nginx, f"{base}/ready"))
    places = {
        "MapServer": f"{base}/mapserv/CITY/ogcapi/collections/camera/items",
        "QGIS Server": f"{base}/wfs3/collections/camera/items",
    }
    for (name, place), port in zip(places.items(), backs, strict=True):
        if name in peers:
            command: list[str | Path] = [
                "spawn-fcgi",
                "-n",
                "-a",
                "127.0.0.1",
                "-p",
                str(port),
                "--",
                peers[name],
            ]
            stack.enter_context(
                service._running(
                    command, f"{place}?limit=1&f=json", QT_QPA_PLATFORM="offscreen",
                    MAPSERVER_CONFIG_FILE=str(folder / "mapserver.conf"),
                    QGIS_PROJECT_FILE=str(folder / "city.qgs"),
                )
            )  # fmt: skip
    return {name: places[name] for name in peers}


def _features(url: str) -> int:
    """Return how many features an answer holds: a peer that answers less is no peer."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        told = json.load(answer)
    return len(told["features"]) if "features" in told else int(told["type"] == "Feature")


def main() -> None:
    """Measure and print table rows."""
    peers = _installed()
    if not peers:
        return
    with ExitStack() as stack:
        cluster, data = service.filled(stack)
        base, _ = service.serve_ours(stack, cluster.url, data)
        mine = f"{base}/ogc/collections/cameras/items"
        found = _serve_peers(stack, peers, service.socket_of(cluster.url), data)
        time.sleep(service.SETTLE_S)
        page, area = "?limit=100&f=json", f"?limit=1000&bbox={BOX}&f=json"
        asked = {
            "100-feature page": (page, page),
            "1,000-feature bbox": (area, area),
            "one item": (f"/{service.ITEM}?f=json", f"/{FEATURE}?f=json"),
        }
        print("The peers stand behind nginx and answer one request at a time; ours has no proxy.")
        print(f"load before: {os.getloadavg()[0]:.1f}")
        for name, place in found.items():
            for work, (ours, theirs) in asked.items():
                counts = _features(mine + ours), _features(place + theirs)
                if counts[0] != counts[1]:
                    raise SystemExit(f"{work}: {counts[0]} features, {name} gives {counts[1]}")
                service._pair(work, name, mine + ours, place + theirs, "-")
        print(f"load after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
