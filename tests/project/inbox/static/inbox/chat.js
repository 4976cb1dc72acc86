/* Makes the chat live: ticks and new messages as they happen, forms without a reload.

   The WebSocket says that something happened; what it is is asked of the server ("state"), whose answer is the truth. After every
   (re)connection the page asks what it missed. Nothing older ever replaces something newer: each bubble has a version, a tick
   only goes forward, and an answer that was asked for before an event came does not undo it. */
"use strict";

(() => {
  const page = document.body.dataset;
  const $ = (id) => document.getElementById(id);
  const labels = JSON.parse($("labels").textContent);
  const log = $("log"), scroll = $("scroll"), composer = $("composer");

  // What may follow what without being asked for; "failed" is shown with its reason, which only the server knows.
  const FORWARD = { pending: ["failed"], sent: ["pending", "failed"], delivered: ["pending", "failed", "sent"], seen: ["pending", "failed", "sent", "delivered"] };
  const FIRST_ASK_MS = 600, LAST_ASK_MS = 10000, IDLE_ASK_MS = 45000, FIRST_RETRY_MS = 250, LAST_RETRY_MS = 4000, LIST_EVERY_MS = 700;

  // -- bubbles -------------------------------------------------------------------------------------------------------

  const heard = new Map(); // id of a message → when the socket last said something of it

  const isAtEnd = () => !scroll || scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
  const goToEnd = () => { if (scroll) scroll.scrollTop = scroll.scrollHeight; };
  const say = (text) => { $("said").textContent = ""; requestAnimationFrame(() => { $("said").textContent = text; }); };

  function element(html) {
    const holder = document.createElement("template");
    holder.innerHTML = html; // made and escaped by the server's templates
    return holder.content.firstElementChild;
  }

  function insert(node) {
    const after = [...log.children].reverse().find((one) => one.dataset.order < node.dataset.order);
    if (after) after.after(node); else log.prepend(node);
  }

  function ensureDay(day, label) {
    if ([...log.children].some((one) => one.dataset.order === day)) return;
    const node = document.createElement("li");
    node.className = "day";
    node.dataset.order = day;
    node.append(Object.assign(document.createElement("span"), { textContent: label }));
    insert(node);
  }

  function show(row) {
    const old = $(`m-${row.id}`);
    if (!old && !row.html) { page.version = ""; askAgain = true; } // committed long after it was made: ask for all
    if (!row.html || (old && old.dataset.version >= row.version)) return;
    const node = element(row.html);
    if (!old) {
      ensureDay(row.day, row.day_label);
      insert(node);
      $("empty").hidden = true;
      if ("theirs" in node.dataset) say(node.innerText);
      return;
    }
    const hadFocus = old.contains(document.activeElement);
    const before = old.dataset.status;
    old.replaceWith(node);
    if (hadFocus) (node.querySelector("button") || $("text")).focus();
    const tellsWhy = node.querySelector(".failure") && !old.querySelector(".failure");
    if (before !== row.status || tellsWhy) announce(node);
  }

  function announce(node) {
    const why = node.querySelector(".failure p");
    say(labels[node.dataset.status] + (why ? `: ${why.textContent}` : ""));
  }

  function tick(event) {
    const node = $(`m-${event.message_id}`);
    if (!node) return;
    const status = event.status, from = node.dataset.status;
    const goesOn = (FORWARD[status] || []).includes(from);
    if (!goesOn) return;
    heard.set(event.message_id, performance.now());
    node.dataset.status = status;
    const shown = node.querySelector(".tick");
    shown.querySelector("use").setAttribute("href", `#t-${status}`);
    shown.querySelector(".hidden").textContent = labels[status];
    if (status !== "failed") announce(node); // that is said with its reason, when it has come
  }

  // -- asking how things stand ---------------------------------------------------------------------------------------

  const last = new Map(); // holder → what it shows, but for the token of its forms, which is another one each time
  let asking = false, askAgain = false, timer = 0;

  function replace(holder, html) {
    const bare = html.replace(/name="csrfmiddlewaretoken" value="[^"]*"/g, "");
    if (last.get(holder) === bare) return;
    last.set(holder, bare);
    const focused = holder.contains(document.activeElement) ? document.activeElement.id : "";
    const opened = holder.querySelector("details[open]") !== null;
    holder.innerHTML = html; // made and escaped by the server's templates
    if (opened) holder.querySelector("details")?.setAttribute("open", "");
    if (focused) $(focused)?.focus({ preventScroll: true });
  }

  async function ask() {
    if (asking) { askAgain = true; return; }
    asking = true;
    clearTimeout(timer);
    try {
      do {
        askAgain = false;
        await askOnce();
      } while (askAgain);
      page.asked = String(Number(page.asked || 0) + 1);
    } catch {
      // The server is away: the socket says so, and its return asks again.
    } finally {
      asking = false;
      watch();
    }
  }

  async function askOnce() {
    const begun = performance.now();
    const query = new URLSearchParams({ since: page.version || "", show: page.shown || "" });
    const answer = await fetch(`${page.state}?${query}`, { headers: { Accept: "application/json" } });
    if (answer.redirected || answer.status === 403) { location.reload(); return; }
    if (!answer.ok) throw new Error(String(answer.status));
    apply(await answer.json(), begun);
  }

  function apply(now, begun) {
    replace($("list"), now.list);
    if (!log) return;
    replace($("head"), now.head);
    replace($("banner"), now.banner);
    const wasAtEnd = isAtEnd();
    for (const row of now.bubbles) {
      if ((heard.get(row.id) ?? -1) > begun) askAgain = true; else show(row);
    }
    if (now.version > (page.version || "")) page.version = now.version;
    if (wasAtEnd) goToEnd();
  }

  // Whoever tells may die before it has told, and nobody tells of a line: what waits is asked about, less and less often;
  // the rest now and then.
  let patience = FIRST_ASK_MS;

  function watch(isNews = false) {
    clearTimeout(timer);
    const waits = log && (log.querySelector('[data-status="pending"]') || $("banner").childElementCount);
    patience = isNews || !waits ? FIRST_ASK_MS : Math.min(LAST_ASK_MS, patience * 1.6);
    if (!document.hidden) timer = setTimeout(ask, waits ? patience : IDLE_ASK_MS);
  }

  let listTimer = 0;
  const askSoon = () => { listTimer ||= setTimeout(() => { listTimer = 0; ask(); }, LIST_EVERY_MS); };

  // -- the socket ----------------------------------------------------------------------------------------------------

  let socket = null, tries = 0, retryTimer = 0;

  function showLink(state, text) {
    $("link").dataset.link = state;
    if ($("link-text").textContent !== text) $("link-text").textContent = text;
  }

  function connect() {
    clearTimeout(retryTimer);
    if (socket && socket.readyState <= WebSocket.OPEN) return;
    const mine = socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${page.socket}`);
    mine.onmessage = (message) => { if (mine === socket) hear(JSON.parse(message.data)); };
    mine.onclose = () => { if (mine === socket) reconnect(); };
  }

  function reconnect() {
    socket = null;
    showLink("lost", "Connecting…");
    const wait = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** tries++);
    retryTimer = setTimeout(connect, wait / 2 + Math.random() * wait / 2);
  }

  function hear(event) {
    if (event.type === "ready") {
      tries = 0;
      showLink("live", "Live");
      ask();
      return;
    }
    if (event.type === "message_status_update") tick(event);
    const isHere = log && event.conversation_id === page.conversation;
    const isKnown = event.message_id && $(`m-${event.message_id}`);
    if (isHere && (event.type !== "message_status_update" || event.status === "failed" || !isKnown)) ask(); else askSoon();
    if (isHere) watch(true);
  }

  // -- forms ---------------------------------------------------------------------------------------------------------

  function notice(text, isFine = false) {
    if (!$("notice")) return;
    $("notice").textContent = text;
    $("notice").classList.toggle("fine", isFine);
  }

  async function post(form) {
    const buttons = form.querySelectorAll("button");
    buttons.forEach((one) => { one.disabled = true; });
    notice("");
    try {
      const answer = await fetch(form.action, { method: "POST", body: new FormData(form), headers: { Accept: "application/json" } });
      if (answer.redirected) { location.reload(); return null; }
      const said = await answer.json();
      if (said.notice) notice(said.notice, answer.ok);
      return answer.ok ? said : null;
    } catch {
      notice("The server cannot be reached. Nothing was sent; try again.");
      return null;
    } finally {
      buttons.forEach((one) => { one.disabled = false; });
    }
  }

  async function write() {
    const field = $("text");
    if (!field.value.trim()) return;
    const said = await post(composer);
    if (!said) return;
    composer.elements.id.value = said.new_id;
    field.value = "";
    said.bubbles?.forEach(show);
    goToEnd();
    field.focus();
    watch(true);
  }

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form === composer) { event.preventDefault(); write(); return; }
    if (!("retry" in form.dataset) && !("refresh" in form.dataset)) return;
    event.preventDefault();
    const atEnd = isAtEnd();
    post(form).then((said) => { said?.bubbles?.forEach(show); if (atEnd) goToEnd(); ask(); });
  });

  $("text")?.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    composer.requestSubmit();
  });

  document.addEventListener("keydown", (event) => {
    const opened = document.querySelector("details[open]");
    if (event.key !== "Escape" || !opened) return;
    opened.removeAttribute("open");
    opened.querySelector("summary").focus();
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { connect(); ask(); } });
  addEventListener("online", connect);
  addEventListener("offline", () => socket?.close());

  goToEnd();
  showLink("still", "Connecting…");
  connect();
})();
