"""Sheets made to be printed, saved as web pages: from the file to the file that comes back."""

import httpx

from tests.imports.files import brought, rows_of

HEAD = "<tr><th>设备编码<th>设备名称<th>经度<th>纬度<th>功能类型</tr>"
PAGE = (
    "<html><meta charset=gb2312><table><tr><td>首页<td>退出<tr><td>a<td>b</table>"
    "<table><tr><td colspan=5><b>摄像机台账</b></td></tr>" + HEAD
    + "".join(f"<tr><td>c{at}<td>路口{at}&nbsp;<td>113.24<td>35.21<td>人脸</tr>" for at in range(3))
    + HEAD + "<tr><td>c9<td>坏<td>0<td>0<td>人脸</tr>"
    "<tr><td>合计<td>4<td colspan=3></tr><tr><td colspan=5>备注：略  制表人：张三</tr></table>"
)  # fmt: skip


async def test_a_page_with_totals_goes_in_and_comes_back(city: httpx.AsyncClient) -> None:
    job = await brought(city, PAGE.encode("gbk"), name="台账.xls", on_error="skip_rows")
    counts = job["counts"]
    assert (job["file"]["format"], job["state"]) == ("html", "done")
    assert (counts["created"], counts["refused"], counts["warned"]) == (3, 1, 3)
    reported = await rows_of(city, job)
    assert [(item["row"], item["status"]) for item in reported] == [
        (3, "created"), (4, "created"), (5, "created"), (6, "passed_over"), (7, "refused"),
        (8, "passed_over"), (9, "passed_over"),
    ]  # fmt: skip
    url = f"/v1/imports/{job['id']}/file"
    back = (await city.get(url, headers={"Accept-Language": "zh"})).text
    assert "c9,坏,0,0,人脸,经度: 坐标为 0, 0" in back.replace('"', "")
    assert "不是记录，已略过" in back
    assert "张三" not in back
    book = await city.get(url, params={"format": "xlsx", "status": "warning"})
    assert book.content.startswith(b"PK")
    again = await brought(city, (await city.get(url, params={"status": "created"})).content)
    assert (again["counts"]["unchanged"], again["counts"]["refused"]) == (3, 0)
