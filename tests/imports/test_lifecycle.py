"""The life of an import over HTTP: a file in, its job, its rows, the file given back."""

import csv
import io
from pathlib import Path

import httpx
from python_calamine import CalamineWorkbook

from app.db.engine import Database
from tests import builders
from tests.builders import KeyFor
from tests.imports.files import brought, cameras, row, rows_of, send, table


def count_rows(job: builders.Json) -> dict[str, int]:
    return {name: count for name, count in job["counts"].items() if count}


async def test_a_file_goes_in_and_again_changes_nothing(ringed: httpx.AsyncClient) -> None:
    job = await brought(ringed, cameras(7))
    assert (job["state"], job["written"], job["problem"]) == ("done", True, None)
    assert count_rows(job) == {"rows": 7, "created": 7}
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]
    result = (await ringed.get("/v1/cameras/cam-3")).json()
    assert (result["name_zh"], result["zone"], result["rings"]) == (
        "摄像机3", "core", ["core", "urban", "city"],
    )  # fmt: skip
    assert list(result["distance_m"]) == ["city", "core", "urban"]
    again = await brought(ringed, cameras(7))
    assert count_rows(again) == {"rows": 7, "unchanged": 7}
    assert (await ringed.get("/v1/cameras/cam-3")).json()["version"] == 1


async def test_places_are_those_a_single_write_would_have(ringed: httpx.AsyncClient) -> None:
    """The set-based way in and the single way in are one registry."""
    job = await brought(ringed, cameras(3))
    assert job["state"] == "done"
    derived = ("zone", "rings", "on_boundary", "distance_m")
    for number in range(3):
        imported = (await ringed.get(f"/v1/cameras/cam-{number}")).json()
        body = builders.camera(f"single-{number}", geometry=imported["geometry"])
        single = (await ringed.post("/v1/cameras", json=body)).json()
        assert [imported[name] for name in derived] == [single[name] for name in derived]


async def test_history_names_sender_import_and_reason(city: httpx.AsyncClient) -> None:
    job = await brought(city, cameras(1))
    entry = (await city.get("/v1/cameras/cam-0/history")).json()["items"][0]
    assert (entry["operation"], entry["request_id"]) == ("create", job["id"])
    assert (entry["actor"], entry["reason"]) == (job["actor"], "import of cameras.csv")
    assert entry["after"]["name_zh"] == "摄像机0"


async def test_an_update_tells_what_changes_and_keeps_what_the_file_does_not_give(
    city: httpx.AsyncClient,
) -> None:
    await brought(city, table([row(0, range_m="20", address="旧址"), row(1)]))
    job = await brought(city, table([row(0, name_zh="新名"), row(1)]))
    assert count_rows(job) == {"rows": 2, "updated": 1, "unchanged": 1}
    changed = await rows_of(city, job, "updated")
    assert [(item["row"], item["code"], item["changes"]) for item in changed] == [
        (2, "cam-0", {"name_zh": ["摄像机0", "新名"]})
    ]
    result = (await city.get("/v1/cameras/cam-0")).json()
    assert (result["name_zh"], result["range_m"], result["address"]) == ("新名", 20, "旧址")
    blank = await brought(city, table([row(0, name_zh="新名", address="")]))
    assert count_rows(blank) == {"rows": 1, "updated": 1}
    assert (await city.get("/v1/cameras/cam-0")).json()["address"] is None


async def test_a_dry_run_tells_the_same_and_writes_nothing(city: httpx.AsyncClient, database: Database) -> None:
    await brought(city, cameras(2))
    before = await builders.contents(database)
    rows = [row(0, name_zh="新名"), row(1), row(2), row(3, functions="nonsense")]
    job = await brought(city, table(rows), dry_run=True)
    assert (job["state"], job["written"], job["dry_run"]) == ("done", False, True)
    assert count_rows(job) == {
        "rows": 4, "created": 1, "updated": 1, "unchanged": 1, "refused": 1, "errors": 1,
    }  # fmt: skip
    assert job["problem"]["code"] == "rows-refused"
    statuses = [item["status"] for item in await rows_of(city, job)]
    assert statuses == ["updated", "unchanged", "created", "refused"]
    assert await builders.contents(database) == before


async def test_one_bad_row_refuses_the_file_unless_rows_may_be_skipped(
    city: httpx.AsyncClient, database: Database
) -> None:
    before = await builders.contents(database)
    content = table([row(0), row(1, lon="400"), row(2)])
    refused = await brought(city, content)
    assert (refused["state"], refused["written"]) == ("failed", False)
    assert refused["problem"]["code"] == "rows-refused"
    assert await builders.contents(database) == before
    taken = await brought(city, content, on_error="skip_rows")
    assert (taken["state"], taken["written"], taken["problem"]) == ("done", True, None)
    assert count_rows(taken) == {"rows": 3, "created": 2, "refused": 1, "errors": 1}
    codes = [item["code"] for item in (await city.get("/v1/cameras")).json()["items"]]
    assert codes == ["cam-0", "cam-2"]


async def test_every_fault_of_every_row_in_two_languages(city: httpx.AsyncClient) -> None:
    rows = [row(0), row(0), row(1, lon="0", lat="0"), row(2, functions="", retention_days="7")]
    job = await brought(city, table(rows))
    assert count_rows(job)["refused"] == 3
    english = await rows_of(city, job, "error")
    assert [item["row"] for item in english] == [3, 4, 5]
    codes = [[problem["code"] for problem in item["problems"]] for item in english]
    assert codes[0] == ["duplicate-code"]
    assert codes[1] == ["outside-extent"] or len(codes[1]) == 1
    assert len(codes[2]) == 2
    chinese = await rows_of(city, job, "error", **{"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"})
    assert chinese[0]["problems"][0]["message"] == "编码“cam-0”在第 2 行已出现。"
    assert "row 2" in english[0]["problems"][0]["message"]


async def test_notes_hints_and_the_reason_are_chinese_for_those_who_ask(
    city: httpx.AsyncClient,
) -> None:
    content = table([row(0), row(1, lon="about")]).decode().encode("gb18030")
    headers = {"Accept-Language": "zh"}
    job = await brought(city, content, headers=headers)
    assert job["problem"]["detail"] == "2 行中有 1 行被拒绝，因此均未写入；请更正，或用 on_error=skip_rows。"
    assert job["notes"][0]["message"] == "文件不是 UTF-8，按 gb18030 读取；如不正确请指明编码。"
    (refused,) = await rows_of(city, job, "error", **headers)
    assert refused["problems"][0]["hint"] == "请写作 113.2418 这样的度数，或度分秒。"
    english = (await city.get(f"/v1/imports/{job['id']}")).json()
    assert english["problem"]["detail"] == (
        "1 of 2 rows are refused, so no row is written. Correct them, or use on_error=skip_rows."
    )
    assert english["notes"][0]["message"].startswith("The file is not UTF-8")


async def test_a_rejected_file_has_chinese_texts(city: httpx.AsyncClient) -> None:
    headers = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"}
    response = await send(city, table([row(0, 图片地址="x")]), headers=headers)
    reported = response.json()
    assert (response.status_code, reported["code"]) == (422, "forbidden-content")
    assert (reported["title"], response.headers["content-language"]) == ("内容无效", "zh")
    assert reported["detail"].startswith("文件因以下列被拒绝：图片地址。")
    assert reported["errors"][0]["message"] == "列“图片地址”被拒绝"
    picture = (await send(city, b"\x89PNG\r\n\x1a\n1234", headers=headers)).json()
    assert picture["detail"].startswith("文件是图片（PNG），不能读取。")
    missing = (await send(city, b"a,b\n1,2\n", headers=headers)).json()
    assert missing["detail"].startswith("缺少必需字段：code")
    english = (await send(city, b"a,b\n1,2\n")).json()
    assert (english["title"], english["detail"][:23]) == ("Not valid", "Missing required fields")


async def test_the_file_comes_back_with_its_errors(city: httpx.AsyncClient, tmp_path: Path) -> None:
    rows = [row(0, notes="=1+1"), row(1, lon="200"), row(2, notes="-12.5")]
    job = await brought(city, table(rows), on_error="skip_rows")
    response = await city.get(job["links"]["file"], headers={"Accept-Language": "zh"})
    assert response.headers["content-type"].startswith("text/csv")
    lines = list(csv.reader(io.StringIO(response.content.decode("utf-8-sig"))))
    assert lines[0][-1] == "错误"
    assert [bool(line[-1]) for line in lines[1:]] == [False, True, False]
    notes = lines[0].index("notes")
    assert [line[notes] for line in lines[1:]] == ["'=1+1", "", "-12.5"]
    only = await city.get(job["links"]["file"] + "?format=xlsx&status=error")
    path = tmp_path / "told.xlsx"
    path.write_bytes(only.content)
    sheet = CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()
    assert [line[0] for line in sheet] == ["code", "cam-1"]
    assert sheet[0][-1] == "errors"


async def test_dropped_columns_are_kept_nowhere(city: httpx.AsyncClient, database: Database) -> None:
    rows = [row(0, 联系人姓名="张三丰"), row(1, 联系人姓名="李四光", lon="bad")]
    refused = await send(city, table(rows))
    assert (refused.status_code, refused.json()["code"]) == (422, "forbidden-content")
    job = await brought(city, table(rows), drop_columns="联系人姓名", on_error="skip_rows")
    assert job["plan"]["dropped"] == ["联系人姓名"]
    text = (await city.get(job["links"]["file"])).text + str(await rows_of(city, job))
    assert "张三丰" not in text
    assert "李四光" not in text
    history = (await city.get("/v1/cameras/cam-0/history")).text
    assert "张三丰" not in history


async def test_jobs_are_listed_newest_first_and_seen_by_their_jurisdiction_only(
    city: httpx.AsyncClient, key_for: KeyFor
) -> None:
    await city.put(f"/v1/jurisdictions/{builders.OTHER}", json=builders.jurisdiction(builders.OTHER))
    first = await brought(city, cameras(1))
    second = await brought(city, cameras(2))
    page = (await city.get("/v1/imports?limit=1")).json()
    assert [job["id"] for job in page["items"]] == [second["id"]]
    remaining = (await city.get(page["next"])).json()
    assert [job["id"] for job in remaining["items"]] == [first["id"]]
    stranger = await key_for("editor", [builders.OTHER])
    assert (await city.get("/v1/imports", headers=stranger)).json()["items"] == []
    for path in (first["links"]["self"], first["links"]["rows"], first["links"]["file"]):
        assert (await city.get(path, headers=stranger)).status_code == 404
    own = await key_for("editor", [builders.CITY])
    assert len((await city.get("/v1/imports", headers=own)).json()["items"]) == 2


async def test_without_waiting_the_answer_tells_where_to_ask(city: httpx.AsyncClient) -> None:
    url = f"/v1/imports?kind=camera&jurisdiction={builders.CITY}&name=raw.csv"
    response = await city.post(url, content=cameras(3), headers={"Content-Type": "text/csv"})
    assert response.status_code in (200, 202)
    job = response.json()
    for _ in range(600):
        if job["finished_at"]:
            break
        job = (await city.get(response.headers["location"])).json()
    assert (job["state"], job["file"]["name"], job["counts"]["created"]) == ("done", "raw.csv", 3)


async def test_profiles_are_saved_used_and_removed(city: httpx.AsyncClient) -> None:
    built_in = (await city.get("/v1/import-profiles")).json()["items"]
    assert {"gbt28181", "gat1400", "osm"} <= {profile["name"] for profile in built_in}
    body = {
        "columns": {"标号": "code", "甲": "lon", "乙": "lat"},
        "defaults": {"functions": ["face"]},
    }
    saved = await city.put("/v1/import-profiles/ours", json=body)
    assert (saved.status_code, saved.json()["built_in"]) == (201, False)
    assert (await city.put("/v1/import-profiles/ours", json=body)).status_code == 200
    job = await brought(city, "标号,甲,乙\nx1,113.2,35.2\n".encode(), profile="ours")
    assert (job["state"], job["plan"]["profile"]) == ("done", "ours")
    assert (await city.delete("/v1/import-profiles/ours")).status_code == 204
    assert (await city.get("/v1/import-profiles/ours")).status_code == 404


async def test_templates_go_in_as_they_come(ringed: httpx.AsyncClient) -> None:
    for extension in ("csv", "xlsx"):
        response = await ringed.get(f"/v1/import-templates/camera.{extension}?lang=zh")
        assert response.status_code == 200
        job = await brought(ringed, response.content, name=f"t.{extension}", dry_run=True)
        assert (job["problem"], job["counts"]["created"]) == (None, 2), job
    assert (await ringed.get("/v1/import-templates/unknown.csv")).status_code == 404
