"""Routes of imports: files in, jobs, rows, the annotated file, profiles and templates."""

import inspect
from typing import Annotated, Literal

from fastapi import APIRouter, BackgroundTasks, Depends, Path, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from app.http import responses, uploads
from app.http.dependencies import (
    BodyDep,
    DatabaseDep,
    ImportsDep,
    LanguageDep,
    PageDep,
    PrincipalDep,
    ReadDep,
    WriteDep,
    WriterDep,
    known_parameters,
)
from app.http.openapi import body_of, problems
from app.imports import job_results, preparation, profiles
from app.imports import profiles as templates
from app.imports.schemas import (
    Asked,
    ImportJob,
    ImportJobs,
    ImportProfiles,
    ImportProfileView,
    ImportRequest,
    ImportRows,
)
from app.ingest.columns.profiles import Profile

router = APIRouter(prefix="/v1", tags=["imports"], dependencies=[Depends(known_parameters)])
PATH = "/v1/imports"
MAX_WAIT_S = 300
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
JobId = Annotated[
    str,
    Path(pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", description="Id of the import."),
]
Name = Annotated[str, Path(pattern="^[a-z0-9][a-z0-9_-]{0,63}$", description="Name of the profile.")]
Status = Annotated[Asked | None, Query(description="Only rows of this outcome; `error`: rows that are refused.")]


async def _given(**options: str | None) -> list[tuple[str, str]]:
    return [(name, value) for name, value in options.items() if value is not None]


# One query parameter for each option of the model, so that both are told of alike.
_given.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # FastAPI reads it
    [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[str | None, Query(description=field.description)],
        )
        for name, field in ImportRequest.model_fields.items()
    ]
)
_FILE = {"type": "string", "format": "binary"}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": _FILE},
                    "additionalProperties": {"type": "string"},
                    "description": "The file, and options as text: those of the query.",
                }
            },
            "application/octet-stream": {"schema": _FILE},
        },
    }
}


@router.post(
    "/imports",
    status_code=202,
    summary="Bring a file in: CSV, XLSX, GeoJSON, GeoPackage, Shapefile, GB/T 28181 ...",
    responses={
        200: {"model": ImportJob, "description": "It ended within `wait`."},
        202: {"model": ImportJob, "description": "It is under way; `Location` tells where."},
        **problems(401, 403, 404, 413, 415, 422, 507),
    },
    openapi_extra=_BODY,
)
async def create_import(
    request: Request,
    who: WriterDep,
    imports: ImportsDep,
    base: DatabaseDep,
    language: LanguageDep,
    options: Annotated[list[tuple[str, str]], Depends(_given)],
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="Seconds to wait for its end.")] = 0,
    name: Annotated[
        str | None,
        Query(max_length=200, description="Name of the file, when the body is the file."),
    ] = None,
    reason: Annotated[str | None, Query(max_length=500, description="Why; kept in the history.")] = None,
) -> Response:
    path = await imports.place()
    async with uploads.taken_in(request, path, name) as (file, fields):
        wanted = preparation.request_of(preparation.payload_of([*options, *fields]))
        admitted = await imports.admit(file, wanted, who, reason or "")
        await imports.submit(admitted, lambda: path.unlink(missing_ok=True))
    await imports.wait(admitted.id, wait)
    async with base.reading() as connection:
        job = await job_results.get(connection, admitted.id, who, language)
    return _job(job, status=200 if job.finished_at else 202)


def _job(job: ImportJob, status: int = 200) -> Response:
    headers = {"Cache-Control": "no-store", "Location": job.links["self"]}
    return Response(job.model_dump_json(), status, headers, responses.JSON)


@router.get(
    "/imports",
    summary="List imports, newest first",
    response_model=ImportJobs,
    responses=problems(401, 403, 422),
)
async def list_imports(
    request: Request, who: PrincipalDep, connection: ReadDep, page: PageDep, language: LanguageDep
) -> Response:
    jobs, after = await job_results.listed(
        connection, who, after=responses.decode_cursor(page.cursor), limit=page.limit,
        language=language,
    )  # fmt: skip
    bodies = ",".join(job.model_dump_json() for job in jobs)
    return responses.page(request, bodies, len(jobs), after)


@router.get(
    "/imports/{job}",
    summary="Read one import: state, counts, what was found out about the file",
    response_model=ImportJob,
    responses=problems(401, 403, 404, 422),
)
async def read_import(
    job: JobId, who: PrincipalDep, imports: ImportsDep, connection: ReadDep, language: LanguageDep
) -> Response:
    return _job(await imports.get(connection, job, who, language))


@router.post(
    "/imports/{job}:cancel",
    summary="Cancel an import; nothing of it is written",
    response_model=ImportJob,
    responses=problems(401, 403, 404, 409, 422),
)
async def cancel_import(job: JobId, who: WriterDep, connection: ReadDep, language: LanguageDep) -> Response:
    await job_results.cancel(connection, job, who)
    return _job(await job_results.get(connection, job, who, language))


@router.get(
    "/imports/{job}/rows",
    summary="Read what became of each row, and everything that is wrong with it",
    response_model=ImportRows,
    responses=problems(401, 403, 404, 422),
)
async def list_import_rows(
    request: Request,
    job: JobId,
    who: PrincipalDep,
    connection: ReadDep,
    page: PageDep,
    language: LanguageDep,
    status: Status = None,
) -> Response:
    rows, after = await job_results.rows(
        connection, job, who, wanted=status, after=responses.decode_cursor(page.cursor),
        limit=page.limit, language=language,
    )  # fmt: skip
    return responses.page(request, responses.joined(rows), len(rows), after)


@router.get(
    "/imports/{job}/file",
    summary="Read the file back with what is wrong beside each row, as CSV or XLSX",
    responses={
        200: {"content": {"text/csv": {}, _XLSX: {}}, "description": "The annotated file."},
        **problems(401, 403, 404, 422),
    },
    response_class=Response,
)
async def read_import_file(
    job: JobId,
    who: PrincipalDep,
    imports: ImportsDep,
    base: DatabaseDep,
    connection: ReadDep,
    language: LanguageDep,
    format: Annotated[Literal["csv", "xlsx"], Query(description="Format to answer in.")] = "csv",
    status: Status = None,
) -> Response:
    name = await job_results.file_name(connection, job, who, format)
    headers = {"Content-Disposition": responses.attachment(name), "Cache-Control": "no-store"}
    if format == "csv":
        body = job_results.as_csv(base, job, status, language)
        return StreamingResponse(body, headers=headers, media_type="text/csv; charset=utf-8")
    path = await imports.place()
    await job_results.as_xlsx(base, job, status, language, path)
    after = BackgroundTasks()
    after.add_task(path.unlink, missing_ok=True)
    return FileResponse(path, headers=headers, media_type=_XLSX, background=after)


@router.get(
    "/import-profiles",
    summary="List profiles of sources",
    response_model=ImportProfiles,
    responses=problems(401, 403, 422),
)
async def list_profiles(who: PrincipalDep, connection: ReadDep) -> Response:
    return responses.computed({"items": await profiles.listed(connection, who)})


@router.get(
    "/import-profiles/{name}",
    summary="Read one profile",
    response_model=ImportProfileView,
    responses=problems(401, 403, 404, 422),
)
async def read_profile(name: Name, who: PrincipalDep, connection: ReadDep) -> Response:
    return responses.computed(await profiles.view(connection, name, who))


@router.put(
    "/import-profiles/{name}",
    summary="Save a profile",
    responses={
        200: {"model": ImportProfileView},
        201: {"model": ImportProfileView},
        **problems(401, 403, 404, 409, 413, 415, 422),
    },
    openapi_extra=body_of(Profile),
)
async def put_profile(
    name: Name, who: WriterDep, payload: BodyDep, connection: WriteDep, response: Response
) -> Response:
    saved, new = await profiles.put(connection, name, payload, who)
    answer = responses.computed(saved)
    answer.status_code = 201 if new else 200
    return answer


@router.delete(
    "/import-profiles/{name}",
    status_code=204,
    summary="Remove a saved profile",
    responses={204: {"description": "Removed."}, **problems(401, 403, 404, 409, 422)},
)
async def remove_profile(name: Name, who: WriterDep, connection: WriteDep) -> Response:
    await profiles.remove(connection, name, who)
    return Response(status_code=204)


@router.get(
    "/import-templates/{kind}.{format}",
    summary="Read an empty table with the headings of a kind, and one row as an example",
    responses={
        200: {"content": {"text/csv": {}, _XLSX: {}}, "description": "The template."},
        **problems(401, 403, 404, 422),
    },
    response_class=Response,
)
async def read_template(
    who: PrincipalDep,
    kind: Annotated[str, Path(pattern="^[a-z][a-z_-]{0,39}$", description="Kind of record.")],
    format: Annotated[Literal["csv", "xlsx"], Path(description="Format of the template.")],
    lang: Annotated[Literal["zh", "en"], Query(description="Language of the headings.")] = "zh",
) -> Response:
    who.need("reader")
    body = templates.template(kind, format, lang)
    headers = {"Content-Disposition": responses.attachment(f"{kind}-{lang}.{format}")}
    media_type = "text/csv; charset=utf-8" if format == "csv" else _XLSX
    return Response(body, headers=headers, media_type=media_type)
