// The small shop: each look is a click on the log, and the list is what the main job answers it.

const SHOWN = 8;
const ASK_AGAIN_MS = 20;
const GIVE_UP_MS = 5000;

const { ingress, api, products } = await (await fetch("config.json")).json();
const byId = new Map(products.map((product) => [product.item_id, product]));
const shelves = [...new Set(products.map((product) => product.category))];
const hues = new Map(shelves.map((shelf, at) => [shelf, (360 * at) / shelves.length]));
const $ = (id) => document.getElementById(id);
let user = localStorage.getItem("user") ?? newUser();
let newest = 0; // number of the last click: answers to those before it are not shown

function newUser() {
  const id = `guest-${crypto.randomUUID().slice(0, 8)}`;
  localStorage.setItem("user", id);
  return id;
}

function tell(text) {
  $("told").textContent = text;
}

function tile(product, why = "") {
  const made = $("product").content.cloneNode(true).querySelector(".product");
  made.dataset.item = product.item_id;
  const picture = made.querySelector(".picture");
  picture.textContent = product.name.split(" ").map((word) => word[0]).join("").toUpperCase();
  picture.style.setProperty("--hue", hues.get(product.category));
  made.querySelector(".name").textContent = product.name;
  made.querySelector(".price").textContent = (product.price_cents / 100).toFixed(2);
  const reason = made.querySelector(".why");
  reason.textContent = why;
  reason.hidden = !why;
  made.querySelector(".look").addEventListener("click", () => act(product, "view"));
  made.querySelector(".cart").addEventListener("click", () => act(product, "cart"));
  return made;
}

async function problemOf(answer) {
  const said = await answer.json().catch(() => ({}));
  return said.detail ?? said.title ?? `status ${answer.status}`;
}

// A click over HTTP; the answer says where it stands on the log.
async function send(product, kind) {
  const answer = await fetch(`${ingress}/clicks`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      user_id: user,
      item_id: product.item_id,
      event_type: kind,
      timestamp: Date.now(),
      category_id: product.category,
      price_cents: product.price_cents,
      event_id: crypto.randomUUID(),
    }),
  });
  if (!answer.ok) throw new Error(`the click was not taken: ${await problemOf(answer)}`);
  return answer.json();
}

async function recommended() {
  const query = new URLSearchParams({ n: SHOWN, explain: "true" });
  const answer = await fetch(`${api}/recommendations/${encodeURIComponent(user)}?${query}`);
  if (!answer.ok) throw new Error(`nothing was recommended: ${await problemOf(answer)}`);
  return answer.json();
}

// What answers a click, or a later one.
async function answerTo(place) {
  const until = performance.now() + GIVE_UP_MS;
  for (;;) {
    const found = await recommended();
    const from = found.source;
    if (from && from.partition === place.partition && from.offset >= place.offset) return found;
    if (performance.now() > until) throw new Error("the main job has not answered this click yet");
    await new Promise((done) => setTimeout(done, ASK_AGAIN_MS));
  }
}

function show(found) {
  const tiles = found.items.filter((each) => byId.has(each.item_id));
  $("recommended").replaceChildren(
    ...tiles.map((each) => tile(byId.get(each.item_id), (each.because ?? [])[0] ?? "")),
  );
}

async function act(product, kind) {
  const number = ++newest;
  const began = performance.now();
  try {
    const place = await send(product, kind);
    document.querySelector(`#all [data-item="${product.item_id}"]`).classList.add("seen");
    if (kind !== "view") {
      tell(`${product.name} is in the cart.`);
      return;
    }
    const found = await answerTo(place);
    if (number !== newest) return;
    show(found);
    const took = Math.round(performance.now() - began);
    tell(`You looked at ${product.name}; answered in ${took} ms.`);
    document.body.dataset.answered = number;
    document.body.dataset.tookMs = took;
  } catch (error) {
    tell(error.message);
  }
}

$("anew").addEventListener("click", () => {
  user = newUser();
  document.querySelectorAll(".seen").forEach((each) => each.classList.remove("seen"));
  begin();
});

async function begin() {
  try {
    show(await recommended());
    tell("Look at something: what is recommended follows.");
  } catch (error) {
    tell(error.message);
  }
}

$("all").replaceChildren(...products.map((product) => tile(product)));
begin();
