"""Routes of imports: files in, jobs, rows, the annotated file, profiles and templates."""

from typing import Annotated, Literal

from fastapi import APIRouter, BackgroundTasks, Depends, Path, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from app.http.dependencies import (
    BodyDep,
    DatabaseDep,
    EditorDep,
    ImportsDep,
    LanguageDep,
    PrincipalDep,
    ReadDep,
    WriteDep,
    check_query_names,
)
from app.http.negotiation import JSON
from app.http.openapi import describe_body, describe_problems
from app.http.paging import PageDep, build_page
from app.http.parameters import create_query_dependency
from app.http.responses import build_value_response, format_attachment, join_documents
from app.http.routing import Route
from app.http.uploads import receive_upload
from app.imports import job_results, preparation, profiles
from app.imports import jobs as import_jobs
from app.imports.schemas import (
    ImportJob,
    ImportJobs,
    ImportProfiles,
    ImportProfileView,
    ImportRequest,
    ImportRows,
    RowFilter,
)
from app.ingest.columns.options import Profile

router = APIRouter(prefix="/v1", tags=["imports"], dependencies=[Depends(check_query_names)], route_class=Route)
PATH = "/v1/imports"
MAX_WAIT_S = 300
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
JobPath = Annotated[
    str,
    Path(pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", description="Id of the import."),
]
ProfilePath = Annotated[str, Path(pattern="^[a-z0-9][a-z0-9_-]{0,63}$", description="Name of the profile.")]
StatusQuery = Annotated[
    RowFilter | None, Query(description="Only rows of this outcome; `error`: rows that are refused.")
]


# One query parameter for each option of the model, so that both have one description.
_OptionsDep = Annotated[
    dict[str, str | None],
    Depends(
        create_query_dependency(
            {
                name: Annotated[str | None, Query(description=field.description)]
                for name, field in ImportRequest.model_fields.items()
            }
        )
    ),
]
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
        **describe_problems(401, 403, 404, 413, 415, 422, 507),
    },
    openapi_extra=_BODY,
)
async def create_import(
    request: Request,
    principal: EditorDep,
    imports: ImportsDep,
    database: DatabaseDep,
    language: LanguageDep,
    options: _OptionsDep,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="Seconds to wait for its end.")] = 0,
    name: Annotated[
        str | None,
        Query(max_length=200, description="Name of the file, when the body is the file."),
    ] = None,
    reason: Annotated[str | None, Query(max_length=500, description="Why; kept in the history.")] = None,
) -> Response:
    path = await imports.create_upload_path()
    async with receive_upload(request, path, name) as (file, fields):
        explicit_options = [(name, value) for name, value in options.items() if value is not None]
        import_request = preparation.parse_request(preparation.parse_options([*explicit_options, *fields]))
        prepared = await imports.prepare_import(file, import_request, principal, reason or "")
        await imports.start_job(prepared, lambda: path.unlink(missing_ok=True))
    await imports.wait_for_job(prepared.id, wait)
    async with database.open_connection() as connection:
        job = await import_jobs.load_job(connection, prepared.id, principal, language)
    return _build_job(job, status=200 if job.finished_at else 202)


def _build_job(job: ImportJob, status: int = 200) -> Response:
    headers = {"Cache-Control": "no-store", "Location": job.links["self"]}
    return Response(job.model_dump_json(), status, headers, JSON)


@router.get(
    "/imports",
    summary="List imports, newest first",
    response_model=ImportJobs,
    responses=describe_problems(401, 403, 422),
)
async def list_imports(
    request: Request, principal: PrincipalDep, connection: ReadDep, paging: PageDep, language: LanguageDep
) -> Response:
    jobs, after = await import_jobs.load_jobs(
        connection, principal, after=paging.after, limit=paging.limit, language=language
    )
    return build_page(request, ",".join(job.model_dump_json() for job in jobs), len(jobs), after)


@router.get(
    "/imports/{job}",
    summary="Read one import: state, counts, what was found out about the file",
    response_model=ImportJob,
    responses=describe_problems(401, 403, 404, 422),
)
async def read_import(
    job: JobPath, principal: PrincipalDep, imports: ImportsDep, connection: ReadDep, language: LanguageDep
) -> Response:
    return _build_job(await imports.load_job(connection, job, principal, language))


@router.post(
    "/imports/{job}:cancel",
    summary="Cancel an import; nothing of it is written",
    response_model=ImportJob,
    responses=describe_problems(401, 403, 404, 409, 422),
)
async def cancel_import(job: JobPath, principal: EditorDep, connection: ReadDep, language: LanguageDep) -> Response:
    await import_jobs.cancel_job(connection, job, principal)
    return _build_job(await import_jobs.load_job(connection, job, principal, language))


@router.get(
    "/imports/{job}/rows",
    summary="Read what became of each row, and everything that is wrong with it",
    response_model=ImportRows,
    responses=describe_problems(401, 403, 404, 422),
)
async def list_import_rows(
    request: Request,
    job: JobPath,
    principal: PrincipalDep,
    connection: ReadDep,
    paging: PageDep,
    language: LanguageDep,
    status: StatusQuery = None,
) -> Response:
    rows, after = await job_results.load_rows(
        connection,
        job,
        principal,
        status=status,
        after=paging.after,
        limit=paging.limit,
        language=language,
    )
    return build_page(request, join_documents(rows), len(rows), after)


@router.get(
    "/imports/{job}/file",
    summary="Read the file back with the errors of each row, as CSV or XLSX",
    responses={
        200: {"content": {"text/csv": {}, _XLSX: {}}, "description": "The annotated file."},
        **describe_problems(401, 403, 404, 422),
    },
    response_class=Response,
)
async def read_import_file(
    job: JobPath,
    principal: PrincipalDep,
    imports: ImportsDep,
    database: DatabaseDep,
    connection: ReadDep,
    language: LanguageDep,
    format: Annotated[Literal["csv", "xlsx"], Query(description="Format to answer in.")] = "csv",
    status: StatusQuery = None,
) -> Response:
    name = await job_results.build_file_name(connection, job, principal, format)
    headers = {"Content-Disposition": format_attachment(name), "Cache-Control": "no-store"}
    if format == "csv":
        body = job_results.stream_csv(database, job, status, language)
        return StreamingResponse(body, headers=headers, media_type="text/csv; charset=utf-8")
    path = await imports.create_upload_path()
    await job_results.write_xlsx(database, job, status, language, path)
    clean_up = BackgroundTasks()
    clean_up.add_task(path.unlink, missing_ok=True)
    return FileResponse(path, headers=headers, media_type=_XLSX, background=clean_up)


@router.get(
    "/import-profiles",
    summary="List profiles of sources",
    response_model=ImportProfiles,
    responses=describe_problems(401, 403, 422),
)
async def list_profiles(principal: PrincipalDep, connection: ReadDep) -> Response:
    return build_value_response({"items": await profiles.load_profile_documents(connection, principal)})


@router.get(
    "/import-profiles/{name}",
    summary="Read one profile",
    response_model=ImportProfileView,
    responses=describe_problems(401, 403, 404, 422),
)
async def read_profile(name: ProfilePath, principal: PrincipalDep, connection: ReadDep) -> Response:
    return build_value_response(await profiles.load_profile_document(connection, name, principal))


@router.put(
    "/import-profiles/{name}",
    summary="Save a profile",
    responses={
        200: {"model": ImportProfileView},
        201: {"model": ImportProfileView},
        **describe_problems(401, 403, 404, 409, 413, 415, 422),
    },
    openapi_extra=describe_body(Profile),
)
async def put_profile(name: ProfilePath, principal: EditorDep, payload: BodyDep, connection: WriteDep) -> Response:
    profile, created = await profiles.save_profile(connection, name, payload, principal)
    return build_value_response(profile, status=201 if created else 200)


@router.delete(
    "/import-profiles/{name}",
    status_code=204,
    summary="Remove a saved profile",
    responses={204: {"description": "Removed."}, **describe_problems(401, 403, 404, 409, 422)},
)
async def remove_profile(name: ProfilePath, principal: EditorDep, connection: WriteDep) -> Response:
    await profiles.remove_profile(connection, name, principal)
    return Response(status_code=204)


@router.get(
    "/import-templates/{kind}.{format}",
    summary="Read an empty table with the headings of a kind, and one row as an example",
    responses={
        200: {"content": {"text/csv": {}, _XLSX: {}}, "description": "The template."},
        **describe_problems(401, 403, 404, 422),
    },
    response_class=Response,
)
async def read_template(
    principal: PrincipalDep,
    kind: Annotated[str, Path(pattern="^[a-z][a-z_-]{0,39}$", description="Kind of record.")],
    format: Annotated[Literal["csv", "xlsx"], Path(description="Format of the template.")],
    lang: Annotated[Literal["zh", "en"], Query(description="Language of the headings.")] = "zh",
) -> Response:
    principal.require_role("reader")
    body = profiles.build_template(kind, format, lang)
    headers = {"Content-Disposition": format_attachment(f"{kind}-{lang}.{format}")}
    media_type = "text/csv; charset=utf-8" if format == "csv" else _XLSX
    return Response(body, headers=headers, media_type=media_type)
