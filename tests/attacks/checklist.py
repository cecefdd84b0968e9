"""The checklist S01 to S40: each requirement with the tests that hold it, or a sentence why there is none yet.

Anchors: requirements of OWASP ASVS 5.0.0 (level in brackets) and of the OWASP Top 10 for LLM applications 2025. Every
test named here exists: tests/attacks/test_checklist.py.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """`tests`: paths, or path::test names; `not_yet`: what is missing, in a sentence."""

    requirement: str
    anchor: str
    tests: tuple[str, ...] = ()
    not_yet: str = ""


OBJECTS, TEXT, SERVER = "tests/attacks/test_objects.py", "tests/attacks/test_text.py", "tests/attacks/test_server.py"
SIGN_IN, HEADERS, NEIGHBOURS = (
    "tests/attacks/test_sign_in.py",
    "tests/attacks/test_headers.py",
    "tests/attacks/test_neighbours.py",
)

CHECKLIST: dict[str, Check] = {
    "S01": Check("every route has a declared access rule, default deny", "V8.2.1 (1), V8.3.1 (1)",
                 ("tests/architecture/test_routes.py", "tests/chatgrid/test_access_matrix.py")),
    "S02": Check("object rights on every id, parent and child", "V8.2.2 (1)", (OBJECTS, NEIGHBOURS)),
    "S03": Check("field rights", "V8.2.3 (2), V15.3.3 (2)",
                 (f"{OBJECTS}::test_r08_fields_that_nobody_asked_for_change_nothing",)),
    "S04": Check("no cross-tenant effect", "V8.4.1 (2), LLM08", (NEIGHBOURS,
                 "tests/departments/documents/test_provision.py")),
    "S05": Check("changes of rights act at once", "V8.3.2 (3)",
                 (f"{OBJECTS}::test_r10_a_right_that_ends_ends_at_once_also_in_a_stream",)),
    "S06": Check("sessions end on deactivation; an admin can end sessions", "V7.4.2 (1), V7.4.5 (2)",
                 ("tests/chatgrid/accounts/test_sign_in.py::test_closing_a_person_ends_the_session_at_once",)),
    "S07": Check("absolute session limits; a fresh sign-in for keys, roles and exports", "V7.3.2 (2), V7.5.3 (3)",
                 ("tests/chatgrid/console/test_fresh.py", "tests/chatgrid/console/test_exports.py",
                  f"{HEADERS}::test_a_session_ends_after_a_working_day",
                  f"{SIGN_IN}::test_r13_a_session_that_somebody_planted_is_not_the_one_that_is_signed_in")),
    "S08": Check("identity by issuer and subject, no joining by mail, state, nonce, PKCE",
                 "V10.5.2 (2), V6.8.1 (2), V10.2.1 (2)",
                 (f"{SIGN_IN}::test_r12_no_other_company_s_sign_in_can_take_over_an_account",)),
    "S09": Check("sign-in and reset limits; the true client address", "V6.3.1 (1), V15.3.4 (2)",
                 (f"{SIGN_IN}::test_r13_guessing_is_limited",
                  f"{SIGN_IN}::test_r12_an_address_is_what_our_own_proxies_saw")),
    "S10": Check("a second factor can be required for admins", "V6.3.3 (2)",
                 ("tests/chatgrid/accounts/test_second_factor.py",
                  f"{SIGN_IN}::test_r15_no_page_of_a_role_opens_without_the_second_factor_that_is_asked_for")),
    "S11": Check("output encoding last, sanitiser for Markdown", "V1.1.2 (2), V1.3.5 (2), LLM05",
                 (f"{TEXT}::test_r16_hostile_text_is_only_text_in_every_place_where_it_is_shown",
                  f"{TEXT}::test_r16_text_becomes_markup_in_few_places", "tests/chatgrid/chat/test_markdown.py",
                  "tests/browser/test_hostile_text.py")),
    "S12": Check("exports safe for spreadsheets", "V1.2.10 (3)",
                 ("tests/audit/test_export.py::test_no_cell_of_a_csv_begins_like_a_formula",)),
    "S13": Check("bounded regular expressions", "V1.3.12 (3)",
                 ("tests/departments/prompts/test_scanner.py::test_its_time_grows_with_the_length_only",
                  "tests/departments/prompts/test_leaks.py::test_its_time_grows_with_the_length_only",
                  "tests/departments/keys/test_redaction.py::test_the_time_grows_with_the_length_only",
                  "tests/departments/calls/test_typed.py::test_its_time_grows_with_the_length_only")),
    "S14": Check("closed XML parsers", "V1.5.1 (1)",
                 (f"{TEXT}::test_r21_a_document_makes_nobody_connect_or_read_a_file",
                  "tests/departments/documents/test_extract_hostile.py")),
    "S15": Check("outbound addresses from settings, no redirects", "V13.2.4-5 (2), V15.3.2 (2), V1.3.6 (2)",
                 (f"{SERVER}::test_r18_only_named_modules_open_connections",
                  f"{SERVER}::test_r18_nothing_in_a_question_an_answer_or_a_document_is_fetched",
                  f"{SERVER}::test_r19_addresses_are_settings_of_the_operator_and_redirects_are_not_followed")),
    "S16": Check("uploads: type by content, size, unpacked size, count, random name", "V5.2.1-4 (1-3), V5.3.2 (1)",
                 (f"{TEXT}::test_r17_an_uploaded_file_never_becomes_a_page",
                  f"{TEXT}::test_r22_a_file_name_is_a_label_and_no_path", "tests/departments/documents/test_detect.py",
                  "tests/departments/documents/test_extract_hostile.py")),
    "S17": Check("downloads: fixed disposition, encoded name", "V5.4.1-2 (2)",
                 (f"{TEXT}::test_r17_an_uploaded_file_never_becomes_a_page",
                  "tests/chatgrid/documents/test_views.py::test_an_original_leaves_as_a_sandboxed_download")),
    "S18": Check("a hook for a malware scanner", "V5.4.3 (2)",
                 ("tests/departments/documents/test_malware.py",)),
    "S19": Check("CSP, HSTS, nosniff, referrer, COOP, no CORS", "V3.4.1-8 (1-3)",
                 (f"{HEADERS}::test_every_route_has_exactly_these_headers_whoever_asks",
                  f"{SERVER}::test_r31_nothing_is_shared_with_another_origin")),
    "S20": Check("cookie attributes, __Host-", "V3.3.1-4 (1-2)",
                 (f"{HEADERS}::test_cookies_are_for_this_site_and_no_script",
                  f"{HEADERS}::test_in_production_cookies_and_transport_are_closed")),
    "S21": Check("CSRF, no state change by GET", "V3.5.1-3 (1)",
                 (f"{SIGN_IN}::test_r15_no_get_changes_anything",
                  f"{SERVER}::test_r31_a_form_from_elsewhere_is_refused_on_every_route")),
    "S22": Check("no secret in an address, a page or a cache", "V14.2.1 (1), V14.3.2-3 (2)",
                 (f"{SERVER}::test_r27_a_key_is_in_no_log_page_cookie_or_header", HEADERS)),
    "S23": Check("secrets only in a secret manager, least right, rotation with expiry", "V13.3.1-2 (2), V13.3.4 (3)",
                 ("tests/departments/keys/test_vaults.py", "tests/departments/keys/test_rotation.py")),
    "S24": Check("the start refuses weak settings", "V13.2.3, V13.4.2 (2)",
                 (f"{SERVER}::test_r33_a_secret_that_everybody_knows_stops_the_start",
                  "tests/chatgrid/console/test_checks.py")),
    "S25": Check("approved cryptography only", "V11.2.2, V11.3.3, V11.4.1",
                 (f"{SIGN_IN}::test_r13_no_security_code_uses_weak_random_numbers",
                  "tests/attacks/test_checklist.py::test_only_approved_digests_are_used")),
    "S26": Check("who, when in UTC, what", "V16.1.1, V16.2.1-2 (2)", ("tests/audit/test_record.py",)),
    "S27": Check("sign-ins, refusals and admin acts are recorded", "V16.3.1-3 (2)",
                 ("tests/chatgrid/accounts/test_sign_in.py", "tests/chatgrid/console/test_acts.py",
                  "tests/departments/calls/test_answering.py")),
    "S28": Check("no sensitive data in logs, no injection", "V16.2.5, V16.4.1 (2)",
                 (f"{SERVER}::test_r27_a_key_is_in_no_log_page_cookie_or_header",
                  f"{TEXT}::test_r30_one_record_is_one_line_whatever_it_says")),
    "S29": Check("the record cannot be changed; a copy elsewhere", "V16.4.2-3 (2)",
                 ("tests/audit/test_record.py", "tests/audit/test_tampering.py", "tests/audit/test_anchors.py")),
    "S30": Check("generic errors, fail closed", "V16.5.1-3 (2)", ("tests/faults/", "tests/attacks/test_fuzz.py",
                 "tests/departments/documents/test_extract_fuzz.py")),
    "S31": Check("limits on tokens, rate, size and concurrency, both sides of a race",
                 "V2.3.2-4 (2), V2.4.1 (2), LLM10",
                 ("tests/departments/limits/test_budget.py",)),
    "S32": Check("retention works and is recorded", "V14.2.4 (2), V14.2.7 (3)",
                 ("tests/audit/test_retention.py", "tests/chatgrid/chat/test_retention.py")),
    "S33": Check("dependencies pinned with hashes, SBOM, known-flaw scan", "V15.1.2 (2), V15.2.1 (1), LLM03",
                 (f"{SERVER}::test_r35_every_dependency_is_pinned_with_its_hash", "tests/chatgrid/dev/test_supply.py")),
    "S34": Check("least database rights for each role", "V13.2.2 (2)",
                 ("tests/audit/test_record.py", "tests/departments/documents/test_provision.py")),
    "S35": Check("prompt injection layers L1 to L9", "LLM01, LLM07",
                 ("tests/attacks/test_layers.py", "tests/departments/prompts/",
                  "tests/departments/calls/test_trials.py", "tests/departments/calls/test_moderation.py")),
    "S36": Check("no tools, no autonomous action", "LLM06",
                 (f"{SERVER}::test_r34_what_is_sent_has_these_fields_and_no_tool",)),
    "S37": Check("poisoned or wrong documents: source shown, upload recorded, labels, quarantine", "LLM04, LLM09",
                 ("tests/departments/documents/test_review.py", "tests/chatgrid/chat/test_labels.py",
                  "tests/attacks/test_layers.py::test_l5_a_planted_order_is_a_label_in_page_and_record_and_the_answer_comes",
                  "tests/chatgrid/chat/test_asking.py::test_an_answer_streams_with_its_source")),
    "S38": Check("metadata of uploads is not kept", "V14.2.8 (3)", ("tests/departments/documents/test_extract.py",)),
    "S39": Check("security.txt, disclosure policy, supported versions", "practice of Zulip and GitLab",
                 ("tests/attacks/test_checklist.py::test_security_txt_says_whom_to_write_to",)),
    "S40": Check("a written security model that says what an admin can see", "practice of Zulip",
                 ("tests/attacks/test_checklist.py::test_the_threat_model_names_every_role_of_the_code",)),
}  # fmt: skip
