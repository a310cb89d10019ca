// The ranking of search results: pages that answer questions come before examples, tables and the reference.
var Scorer = {
  score: ([docName, title, anchor, description, score]) => score + (/^(guide\/|faq|getting_started)/.test(docName) ? 20 : 0),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
